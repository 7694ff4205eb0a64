// A fetch for clients of libSQL that renews the short-lived Coffer token.
//
//   import { createClient } from "@libsql/client";
//   import { renewing } from "./coffer-token.mjs";
//
//   const db = createClient({
//     url: "https://coffer.example:8443/t/acme/db/",
//     authToken: "renewed", // what the client would send; it is replaced
//     fetch: renewing({ url: "https://coffer.example:8443", roleId, secretId }),
//   });
//
// roleId and secretId come from `coffer workload create`. A token is got when the
// first request needs one, again when a quarter of its life is left, and again
// when Coffer says that it does not hold any more. A transaction that is open
// when the token changes is lost, as Coffer binds it to the token: begin it again.
export function renewing({ url, roleId, secretId, ttl = "1h", fetch: inner = fetch }) {
  const login = new URL("/api/v1/login/workload", url);
  let token, renewAt = 0, pending;

  async function renew() {
    const asked = Date.now();
    const answer = await inner(login, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ role_id: roleId, secret_id: secretId, ttl }),
    });
    if (!answer.ok) throw new Error(`Coffer did not log the workload in: ${answer.status} ${await answer.text()}`);
    const issued = await answer.json();
    token = issued.token;
    renewAt = asked + 0.75 * (Date.parse(issued.expires) - asked);
  }

  // Requests at once wait for one login.
  function current() {
    if (token && Date.now() < renewAt) return token;
    pending ??= renew().finally(() => { pending = undefined; });
    return pending.then(() => token);
  }

  // Which token a stream of @libsql/client goes on with. A baton is used once, and
  // the oldest are forgotten: nobody came back for them.
  const streams = new Map();
  const batonIn = (text) => /"baton"\s*:\s*"([^"]+)"/.exec(text)?.[1];

  async function remember(answer, used) {
    if (answer.headers.get("content-type") !== "application/json") return; // that is streamed
    const baton = batonIn(await answer.clone().text());
    if (!baton) return;
    streams.set(baton, used);
    if (streams.size > 1000) streams.delete(streams.keys().next().value);
  }

  return async function (input, init) {
    // Older clients bring a Request of their own make.
    const request = input?.url && !init ? input : new Request(input, init);
    const { url, method, signal } = request;
    const body = await request.text();
    const baton = batonIn(body);
    const bound = streams.get(baton);
    streams.delete(baton);
    const send = async (used) => {
      const headers = new Headers([...request.headers]);
      headers.set("authorization", `Bearer ${used}`);
      const answer = await inner(url, { method, headers, signal: signal ?? undefined, body: body || undefined });
      await remember(answer, used);
      return answer;
    };
    const used = bound ?? await current();
    const answer = await send(used);
    if (answer.status !== 401) return answer;
    if (token === used) renewAt = 0; // nobody has renewed it meanwhile
    return send(await current());
  };
}
