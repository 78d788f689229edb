// OpenAI's SDK for JavaScript, pointed at a Darkroom: `node openai.mjs WHAT`. Says in JSON what came.
import OpenAI, { toFile } from "openai";

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
  maxRetries: Number(process.env.RETRIES ?? 0),
});
const wish = { prompt: "a fox", size: "64x48" };
const png = Buffer.from(process.env.PICTURE, "base64");
const file = (name) => toFile(png, name, { type: "image/png" });

async function told(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const doing = {
  generate: () => client.images.generate({ ...wish, n: 2 }),
  url: () => client.images.generate({ ...wish, response_format: "url" }),
  edit: async () => client.images.edit({ ...wish, image: await file("a.png"), quality: "low" }),
  edits: async () =>
    client.images.edit({ ...wish, image: [await file("a.png"), await file("b.png")], n: 1 }),
  mask: async () =>
    client.images.edit({ ...wish, image: await file("a.png"), mask: await file("m.png") }),
  stream: async () => told(await client.images.generate({ ...wish, stream: true })),
  edit_stream: async () =>
    told(await client.images.edit({ ...wish, image: await file("a.png"), stream: true })),
  models: async () => told(await client.models.list()),
  model: () => client.models.retrieve("sketch-1"),
  no_model: () => client.models.retrieve("gpt-9"),
  bad: () => client.images.generate({ ...wish, n: 11 }),
  key_for_two: async () => {
    const keyed = { headers: { "Idempotency-Key": "k" } };
    await client.images.generate(wish, keyed);
    return client.images.generate({ ...wish, prompt: "a hare" }, keyed);
  },
};

try {
  console.log(JSON.stringify(await doing[process.argv[2]]()));
} catch (error) {
  const { status, code, param, type, message, requestID } = error;
  const kind = error.constructor.name;
  console.log(JSON.stringify({ kind, status, code, param, type, message, requestID }));
}
