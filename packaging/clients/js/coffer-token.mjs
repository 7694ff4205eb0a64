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

  return async function (input, init) {
    const request = new Request(input, init);
    const send = async () => {
      const copy = request.clone();
      copy.headers.set("authorization", `Bearer ${await current()}`);
      return inner(copy);
    };
    const used = token;
    const answer = await send();
    if (answer.status !== 401) return answer;
    if (token === used) renewAt = 0; // nobody has renewed it meanwhile
    return send();
  };
}
