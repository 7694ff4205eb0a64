// node-vault, which sends POST for every write, LIST as a method of its own, and takes
// only 200 and 204 for success.
import test from "node:test";
import assert from "node:assert/strict";
import vault from "node-vault";
import { issue, url } from "./coffer.mjs";

const owner = await issue("owner");
const at = (token) => vault({ apiVersion: "v1", endpoint: url, namespace: "acme", token });

test("secrets", async () => {
  const v = at(owner);
  const put = await v.write("secret/data/node/app", { data: { key: "ä 😀", n: 1 } });
  assert.equal(put.data.version >= 1, true);
  const got = await v.read("secret/data/node/app");
  assert.deepEqual(got.data.data, { key: "ä 😀", n: 1 });
  assert.equal(got.data.metadata.deletion_time, "");
  for (const name of ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"]) assert.ok(name in got, name);
  assert.ok((await v.list("secret/metadata/node")).data.keys.includes("app"));
  await v.delete("secret/data/node/app");
  await assert.rejects(v.read("secret/data/node/app"), (e) => e.response.statusCode === 404);
  await v.write("secret/undelete/node/app", { versions: [put.data.version] });
  assert.equal((await v.read("secret/data/node/app")).data.data.n, 1);
});

test("status, tokens and mounts", async () => {
  assert.equal((await at().status()).sealed, false);
  assert.equal((await vault({ apiVersion: "v1", endpoint: url }).health()).initialized, true); // not in a namespace
  const v = at(owner);
  assert.equal((await v.tokenLookupSelf()).data.type, "service");
  const child = await at(owner).tokenCreate({ ttl: "5m", policies: ["viewer"] });
  assert.ok(child.auth.client_token);
  const held = at(child.auth.client_token);
  assert.ok((await held.tokenRenewSelf()).auth.lease_duration > 0);
  await held.tokenRevokeSelf();
  await assert.rejects(held.tokenLookupSelf(), (e) => e.response.statusCode === 403);
  const mounts = await v.mounts();
  assert.equal(mounts["secret/"].type, "kv"); // beside data, where old scripts look
  assert.ok((await v.policies()).policies.includes("default"));
});

test("approle", async () => {
  const v = at(owner);
  await v.write("auth/approle/role/node", { token_policies: "sql:analyst" });
  const { role_id } = (await v.read("auth/approle/role/node/role-id")).data;
  const { secret_id } = (await v.write("auth/approle/role/node/secret-id")).data;
  const app = at("s.stale");
  const login = await app.approleLogin({ role_id, secret_id });
  assert.ok(login.auth.client_token);
  assert.equal((await app.tokenLookupSelf()).data.meta.role_name, "node");
});
