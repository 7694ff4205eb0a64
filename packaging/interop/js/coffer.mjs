// What the tests know of the Coffer that runs: see ../interop_test.go.
export const url = process.env.COFFER_URL; // https://localhost:PORT
const owner = process.env.COFFER_OWNER_TOKEN;

async function post(path, body) {
  const answer = await fetch(url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${owner}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// issue makes a token in acme.
export async function issue(role, ttl = "15m") {
  return (await post("/api/v1/tenants/acme/tokens", { role, ttl })).token;
}

export async function revoke(token) {
  await post("/api/v1/token/revoke", { token });
}

// sql runs a statement past the clients, to see what is really there.
export async function sql(text) {
  return (await post("/api/v1/tenants/acme/sql", { sql: text })).rows;
}

// events are those of acme's log with an action, of all pages.
export async function events(action) {
  const all = [];
  for (let after = ""; after !== undefined; ) {
    const answer = await fetch(`${url}/api/v1/tenants/acme/audit?${new URLSearchParams({ limit: 1000, action, ...(after && { after }) })}`, { headers: { authorization: `Bearer ${owner}` } });
    const page = await answer.json();
    all.push(...page.events);
    after = page.next;
  }
  return all;
}

// rolledBack gives the reasons for which Coffer rolled back transactions that had
// written to a table, as its log has them.
export async function rolledBack(at) {
  const streams = (await events("sql.write")).filter((e) => e.detail?.tables?.includes(at)).map((e) => e.detail.stream);
  return (await events("sql.rollback")).filter((e) => streams.includes(e.detail.stream)).map((e) => e.detail.reason);
}

let names = 0;
// table makes a table of its own for a test.
export async function table(columns = "id INTEGER PRIMARY KEY, v") {
  const name = `js_${process.pid}_${names++}`;
  await sql(`CREATE TABLE ${name}(${columns})`);
  return name;
}

// both forms of the address.
export const addresses = [`${url}/t/acme/db/`, `${url}/t/acme/`];
