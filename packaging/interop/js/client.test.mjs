// @libsql/client: the one of today, one two years old and one older still.
import test from "node:test";
import assert from "node:assert/strict";
import * as today from "@libsql/client";
import * as old from "libsql-client-2024";
import * as older from "libsql-client-0-5";
import { addresses, events, issue, revoke, rolledBack, sql, table, url } from "./coffer.mjs";
import { renewing } from "../../clients/js/coffer-token.mjs";

const owner = await issue("owner");
const analyst = await issue("analyst");

for (const [name, { createClient }] of Object.entries({ today, old, older })) {
  for (const address of addresses) {
    const open = (options = {}) => createClient({ url: address, authToken: owner, ...options });
    test(`${name} ${new URL(address).pathname}`, async (t) => {
      const db = open();
      t.after(() => db.close());

      await t.test("values", async () => {
        const at = await table("id INTEGER PRIMARY KEY, i, f REAL, s TEXT, b BLOB, d DATETIME");
        const big = 9223372036854775807n;
        const made = await db.execute({
          sql: `INSERT INTO ${at}(i, f, s, b, d) VALUES (?, ?, ?, ?, ?)`,
          args: [big, 1.5, "Grüße 😀 \u0000 '", new Uint8Array([0, 255, 1]), "2024-01-31 10:00:00"],
        });
        assert.equal(made.rowsAffected, 1);
        assert.equal(made.lastInsertRowid, 1n);
        const bigs = open({ intMode: "bigint" });
        t.after(() => bigs.close());
        const { rows, columns, columnTypes } = await bigs.execute(`SELECT i, f, s, b, d, NULL AS n FROM ${at}`);
        assert.deepEqual(columns, ["i", "f", "s", "b", "d", "n"]);
        assert.deepEqual(columnTypes.slice(1, 5), ["REAL", "TEXT", "BLOB", "DATETIME"]);
        const row = rows[0];
        assert.equal(row.i, big);
        assert.equal(row.f, 1.5);
        assert.equal(row.s, "Grüße 😀 \u0000 '");
        assert.deepEqual(new Uint8Array(row.b), new Uint8Array([0, 255, 1]));
        assert.equal(row.d, "2024-01-31 10:00:00");
        assert.equal(row.n, null);
        await assert.rejects(db.execute(`SELECT i FROM ${at}`), RangeError);
      });

      await t.test("arguments", async () => {
        assert.equal((await db.execute({ sql: "SELECT ?2 || ?1 AS x", args: ["b", "a"] })).rows[0].x, "ab");
        assert.equal((await db.execute({ sql: "SELECT typeof(?) AS x", args: [null] })).rows[0].x, "null");
        assert.equal((await db.execute({ sql: "SELECT :a || @b || $c AS x", args: { a: "1", b: "2", c: "3" } })).rows[0].x, "123");
        await assert.rejects(db.execute({ sql: "SELECT ?, ?", args: [1] }), { code: "ARGS_INVALID" });
      });

      await t.test("errors", async () => {
        const at = await table("id INTEGER PRIMARY KEY");
        await db.execute(`INSERT INTO ${at} VALUES (1)`);
        await assert.rejects(db.execute(`INSERT INTO ${at} VALUES (1)`), { code: "SQLITE_CONSTRAINT" });
        await assert.rejects(db.execute("SELECT foobar"), { code: "SQLITE_ERROR" });
        await assert.rejects(db.execute("SELECT 1; SELECT 2"), { code: "SQL_MANY_STATEMENTS" });
        await assert.rejects(db.execute(" -- nothing"), { code: "SQL_NO_STATEMENT" });
      });

      await t.test("batches", async () => {
        const at = await table();
        const out = await db.batch([`INSERT INTO ${at} VALUES (1, 'a')`, { sql: `INSERT INTO ${at} VALUES (?, ?)`, args: [2, "b"] }, `SELECT count(*) AS n FROM ${at}`], "write");
        assert.equal(out[2].rows[0].n, 2);
        await assert.rejects(db.batch([`DELETE FROM ${at}`, `INSERT INTO ${at} VALUES (1, 'a'), (1, 'b')`], "write"), { code: "SQLITE_CONSTRAINT" });
        assert.equal((await db.execute(`SELECT count(*) AS n FROM ${at}`)).rows[0].n, 2);
        await assert.rejects(db.batch([`DELETE FROM ${at}`], "read"), { code: "SQLITE_READONLY" });
        await db.executeMultiple(`INSERT INTO ${at} VALUES (3, 'c'); INSERT INTO ${at} VALUES (4, 'd;');`);
        assert.equal((await db.batch([`SELECT count(*) AS n FROM ${at}`], "read"))[0].rows[0].n, 4);
      });

      await t.test("transactions", async () => {
        const at = await table();
        const tx = await db.transaction("write");
        await tx.execute(`INSERT INTO ${at} VALUES (1, 'a')`);
        await assert.rejects(tx.execute(`INSERT INTO ${at} VALUES (1, 'b')`), { code: "SQLITE_CONSTRAINT" });
        await tx.batch([`INSERT INTO ${at} VALUES (2, 'b')`]);
        assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[0]]);
        await tx.commit();
        assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[2]]);

        const undone = await db.transaction("deferred");
        await undone.execute(`DELETE FROM ${at}`);
        await undone.rollback();
        const left = await db.transaction("write");
        await left.execute(`DELETE FROM ${at}`);
        left.close();
        assert.equal((await db.execute(`SELECT count(*) AS n FROM ${at}`)).rows[0].n, 2);

        const reads = await db.transaction("read");
        await assert.rejects(reads.execute(`DELETE FROM ${at}`), { code: "SQLITE_READONLY" });
        assert.equal((await reads.execute(`SELECT count(*) AS n FROM ${at}`)).rows[0].n, 2);
        reads.close();
      });

      await t.test("a token that is revoked within a transaction", async () => {
        const at = await table();
        const token = await issue("admin");
        const short = open({ authToken: token });
        const tx = await short.transaction("write");
        await tx.execute(`INSERT INTO ${at} VALUES (1, 'a')`);
        await revoke(token);
        await assert.rejects(tx.commit(), /not valid/);
        await assert.rejects(short.execute("SELECT 1"), /not valid/);
        short.close();
        await db.execute(`INSERT INTO ${at} VALUES (2, 'b')`); // waits for the rollback
        assert.deepEqual(await sql(`SELECT id FROM ${at}`), [[2]]);
        assert.deepEqual(await rolledBack(at), ["its token was revoked"]);
      });
    });
  }

  test(`${name}: roles and tenants`, async () => {
    const reader = createClient({ url: addresses[0], authToken: analyst });
    const at = await table();
    await assert.rejects(reader.execute(`INSERT INTO ${at} VALUES (1, 1)`), /not allowed/);
    assert.equal((await reader.execute(`SELECT count(*) AS n FROM ${at}`)).rows[0].n, 0);
    reader.close();
    for (const foreign of ["globex", "nobody"]) {
      const lost = createClient({ url: `${url}/t/${foreign}/db/`, authToken: owner });
      await assert.rejects(lost.execute("SELECT 1"), /not allowed, or there is no such tenant/);
      lost.close();
    }
  });

  test(`${name}: a token that ends, and a client that renews it`, async () => {
    const at = await table();
    const short = createClient({ url: addresses[0], authToken: await issue("admin", "1s") });
    const tx = await short.transaction("write");
    await tx.execute(`INSERT INTO ${at} VALUES (1, 'a')`);
    await new Promise((done) => setTimeout(done, 1200)); // that is what a second takes
    await assert.rejects(tx.commit(), /not valid/);
    await assert.rejects(short.execute("SELECT 1"), /not valid/);
    short.close();
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[0]]);

    const db = createClient({
      url: addresses[0],
      authToken: "renewed",
      fetch: renewing({ url, roleId: process.env.COFFER_ROLE_ID, secretId: process.env.COFFER_SECRET_ID, ttl: "2s" }),
    });
    const logins = async () => (await events("workload.login")).filter((e) => e.type === "intent").length;
    const before = await logins();
    await Promise.all([1, 2, 3].map((i) => db.execute({ sql: `INSERT INTO ${at} VALUES (?, 'x')`, args: [i + 10] })));
    assert.equal((await logins()) - before, 1, "one login serves requests at once");
    await new Promise((done) => setTimeout(done, 2200));
    assert.equal((await db.execute(`SELECT count(*) AS n FROM ${at}`)).rows[0].n, 3);
    assert.equal((await rolledBack(at)).length, 1, "the log has the transaction whose token ended");
    db.close();
  });
}

// What no client shows, as the server ends a token: the wrapper alone.
test("renewing", async (t) => {
  const at = await table();
  const options = { url, roleId: process.env.COFFER_ROLE_ID, secretId: process.env.COFFER_SECRET_ID };
  const used = [];
  const watched = (input, init) => {
    const sent = new Request(input, init).headers.get("authorization");
    if (sent) used.push(sent.slice("Bearer ".length));
    return fetch(input, init);
  };
  const open = (ttl) => {
    const db = today.createClient({ url: addresses[0], authToken: "renewed", fetch: renewing({ ...options, ttl, fetch: watched }) });
    t.after(() => db.close());
    return db;
  };

  await t.test("on 401", async () => {
    const db = open("1h");
    await db.execute("SELECT 1");
    await revoke(used.at(-1));
    const before = used.at(-1);
    await db.execute({ sql: `INSERT INTO ${at} VALUES (1, ?)`, args: ["once"] });
    assert.notEqual(used.at(-1), before);
    assert.deepEqual(await sql(`SELECT id FROM ${at}`), [[1]]);
  });

  await t.test("a transaction goes on with the token that began it", async () => {
    const db = open("4s"); // renewed after three
    const tx = await db.transaction("write");
    await tx.execute("SELECT 1"); // that begins it
    const first = used.at(-1);
    for (const id of [2, 3]) {
      await tx.execute(`INSERT INTO ${at} VALUES (${id}, 'tx')`);
      await new Promise((done) => setTimeout(done, 1600)); // 3.2 s in all
    }
    await db.execute("SELECT 1");
    assert.notEqual(used.at(-1), first);
    await tx.commit();
    assert.equal(used.at(-1), first);
    assert.deepEqual(await sql(`SELECT id FROM ${at} ORDER BY id`), [[1], [2], [3]]);
  });

  await t.test("a workload that is refused", async () => {
    const db = today.createClient({ url: addresses[0], fetch: renewing({ ...options, secretId: `cfs_${"a".repeat(52)}` }) });
    t.after(() => db.close());
    await assert.rejects(db.execute("SELECT 1"), (e) => /did not log the workload in: 401/.test(e.message) && !/cfs_/.test(e.message));
  });
});
