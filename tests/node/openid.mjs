// An OpenID provider that lets everybody in by the name they type: `node openid.mjs`. Says where.
// Whose name begins with "unverified" has an email address that is not verified.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const server = createServer((request, response) => serve(request, response));
let serve;

server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: process.env.CLIENT_ID,
        client_secret: process.env.CLIENT_SECRET,
        redirect_uris: process.env.REDIRECT_URIS.split(" "),
      },
    ],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "picture"] },
    pkce: { required: () => true },
    cookies: { keys: ["of a provider in a test"] },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({
        sub,
        email: `${sub}@example.org`,
        email_verified: !sub.startsWith("unverified"),
        name: sub[0].toUpperCase() + sub.slice(1),
        picture: `https://pictures.example/${sub}.png`,
      }),
    }),
  });
  serve = provider.callback();
  console.log(issuer);
});
