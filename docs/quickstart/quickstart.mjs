// JavaScript (Node 20 or newer): text, a reference image, waiting or not, progress, a repeat, history.
const api = `${process.env.DARKROOM_URL}/api/v1/generations`;
async function ask(url, headers = {}, fields = undefined) {
  const form = new FormData(); // JSON does as well, with reference images in base64
  for (const name in fields) form.append(name, fields[name]);
  headers = { Authorization: `Bearer ${process.env.DARKROOM_API_KEY}`, ...headers };
  const answer = await fetch(url, fields ? { method: "POST", body: form, headers } : { headers });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.headers.get("content-type").startsWith("text/") ? answer.text() : answer.json();
}

// A prompt goes in; the request waits, and answers with a permanent URL.
const lighthouse = await ask(api, {}, { prompt: "a lighthouse at dusk" });
const picture = await fetch(lighthouse.imageUrl).then((answer) => answer.blob());
console.log("picture", lighthouse.imageUrl, picture.size, "bytes");

// A reference image is a file of a form.
const spring = { prompt: "the same place in spring", referenceImages: picture };
console.log("spring", (await ask(api, {}, spring)).imageUrl);

// Not waiting: 202 at once; the generation's events are told as they happen, until it has ended.
const fox = await ask(api, { Prefer: "respond-async" }, { prompt: "a fox" });
const told = await ask(`${api}/${fox.id}/events`, { Accept: "text/event-stream" });
console.log("events", told.match(/^event: generation.*$/gm));

// Repeating is safe with an Idempotency-Key: both answers are of one generation.
const once = { "Idempotency-Key": `"${crypto.randomUUID()}"` };
for (const _ of [1, 2]) console.log("one generation", (await ask(api, once, { prompt: "a teapot" })).id);

// History, the newest first.
const history = await ask(`${api}?status=completed&limit=3`);
for (const item of history.items) console.log("history", item.createdAt, item.prompt);
