// Drizzle with its migrator, Prisma's adapter, the serverless client, and the client
// with a core in Rust, under which those of Python, PHP and .NET sit as well.
import test from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@libsql/client";
import { drizzle } from "drizzle-orm/libsql";
import { migrate } from "drizzle-orm/libsql/migrator";
import { eq } from "drizzle-orm";
import { blob, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { PrismaLibSql } from "@prisma/adapter-libsql";
import { connect } from "@tursodatabase/serverless";
import Database from "libsql/promise";
import { addresses, issue, revoke, rolledBack, sql, table, url } from "./coffer.mjs";

const owner = await issue("owner");
const analyst = await issue("analyst");
const big = 9223372036854775807n;
const words = "Grüße 😀 '";
const later = (ms) => new Promise((done) => setTimeout(done, ms)); // that is what it takes

test("drizzle", async (t) => {
  const client = createClient({ url: addresses[0], authToken: owner });
  t.after(() => client.close());
  const db = drizzle(client);
  const name = `drizzle_${process.pid}`;
  const users = sqliteTable(name, {
    id: integer("id").primaryKey({ autoIncrement: true }),
    mail: text("mail").notNull().unique(),
    born: integer("born", { mode: "timestamp" }),
    picture: blob("picture", { mode: "buffer" }),
    wishes: text("wishes", { mode: "json" }),
  });
  const dir = await mkdtemp(join(tmpdir(), "coffer-drizzle-"));
  t.after(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, "meta"));
  const entries = ["0000_first", "0001_second"].map((tag, idx) => ({ idx, version: "6", when: 1_700_000_000_000 + idx, tag, breakpoints: true }));
  await writeFile(join(dir, "meta", "_journal.json"), JSON.stringify({ version: "7", dialect: "sqlite", entries }));
  await writeFile(join(dir, "0000_first.sql"), `CREATE TABLE \`${name}\` (\`id\` integer PRIMARY KEY AUTOINCREMENT NOT NULL, \`mail\` text NOT NULL, \`born\` integer, \`picture\` blob);\n--> statement-breakpoint\nCREATE UNIQUE INDEX \`${name}_mail\` ON \`${name}\` (\`mail\`);`);
  // A table that is rebuilt, as SQLite wants it: with foreign keys off.
  await writeFile(join(dir, "0001_second.sql"), `PRAGMA foreign_keys=OFF;--> statement-breakpoint\nALTER TABLE \`${name}\` ADD \`wishes\` text;--> statement-breakpoint\nPRAGMA foreign_keys=ON;`);
  await migrate(db, { migrationsFolder: dir, migrationsTable: `${name}_migrations` });
  await migrate(db, { migrationsFolder: dir, migrationsTable: `${name}_migrations` });

  const born = new Date(1_600_000_000_000);
  const [made] = await db.insert(users).values({ mail: "a@example.com", born, picture: Buffer.from([1, 2]), wishes: ["x"] }).returning();
  assert.equal(made.id, 1);
  assert.deepEqual(made.born, born);
  await assert.rejects(db.insert(users).values({ mail: "a@example.com" }), (e) => (e.cause ?? e).code === "SQLITE_CONSTRAINT");
  await db.transaction(async (tx) => {
    await tx.insert(users).values({ mail: "b@example.com" });
    await tx.update(users).set({ wishes: ["y"] }).where(eq(users.mail, "b@example.com"));
  });
  await assert.rejects(db.transaction(async (tx) => {
    await tx.delete(users);
    tx.rollback();
  }));
  const all = await db.select().from(users).orderBy(users.id);
  assert.deepEqual(all.map((u) => [u.id, u.mail, u.wishes]), [[1, "a@example.com", ["x"]], [2, "b@example.com", ["y"]]]);
  assert.deepEqual([...all[0].picture], [1, 2]);
  const [[n]] = await Promise.all([db.batch([db.select().from(users)])]);
  assert.equal(n.length, 2);
});

// What Prisma's own client calls; that one is generated from a schema by a program
// which is no part of what is shown here.
test("prisma", async () => {
  const db = await new PrismaLibSql({ url: addresses[0], authToken: owner }).connect();
  const at = await table("id INTEGER PRIMARY KEY, v TEXT, b BLOB");
  const query = (text, ...args) => ({ sql: text, args, argTypes: args.map((a) => ({ scalarType: typeof a === "string" ? "string" : "int", arity: "scalar" })) });
  assert.equal(await db.executeRaw(query(`INSERT INTO ${at} VALUES (?, ?, x'00ff')`, 1, words)), 1);
  const { columnNames, rows } = await db.queryRaw(query(`SELECT id, v FROM ${at}`));
  assert.deepEqual([columnNames, rows], [["id", "v"], [[1, words]]]);
  await assert.rejects(db.executeRaw(query(`INSERT INTO ${at} VALUES (1, 'b', NULL)`)), /UNIQUE constraint failed/);
  for (const end of ["commit", "rollback"]) {
    const tx = await db.startTransaction();
    await tx.executeRaw(query(`INSERT INTO ${at} VALUES (NULL, ?, NULL)`, end));
    await tx[end]();
  }
  assert.deepEqual(await sql(`SELECT group_concat(v) FROM ${at} WHERE id > 1`), [["commit"]]);
  await db.executeScript(`CREATE INDEX ${at}_v ON ${at}(v); DELETE FROM ${at};`);
  assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[0]]);
  await db.dispose();
});

for (const address of addresses) {
  test(`serverless ${new URL(address).pathname}`, async () => {
    const db = connect({ url: address, authToken: owner });
    const at = await table();
    const made = await db.run(`INSERT INTO ${at} VALUES (?, ?)`, 1, "a");
    assert.equal(Number(made.lastInsertRowid), 1);
    const row = await (await db.prepare(`SELECT id, v FROM ${at} WHERE id = ?`)).get([1]);
    assert.equal(row.v, "a");
    assert.equal((await db.get("SELECT last_insert_rowid() AS id")).id, 1);
    await db.batch([`INSERT INTO ${at} VALUES (2, 'b')`, `INSERT INTO ${at} VALUES (3, 'c')`]);
    await assert.rejects(db.run(`INSERT INTO ${at} VALUES (3, 'd')`), /UNIQUE/);
    const insert = db.transaction(async (id) => {
      await db.run(`INSERT INTO ${at} VALUES (?, 'e')`, id);
      if (id > 100) throw new Error("too large");
    });
    await insert(5);
    await assert.rejects(insert(101), /too large/);
    assert.deepEqual(await sql(`SELECT group_concat(id) FROM ${at}`), [["1,2,3,5"]]);
    await later(5500); // longer than a stream waits
    assert.equal((await db.get(`SELECT count(*) AS n FROM ${at}`)).n, 4);
    const reader = connect({ url: address, authToken: analyst });
    await assert.rejects(reader.run(`DELETE FROM ${at}`), /not allowed/);
  });

  test(`serverless values ${new URL(address).pathname}`, async () => {
    const db = connect({ url: address, authToken: owner });
    const at = await table("id INTEGER PRIMARY KEY, i, f, s, b, n");
    await db.run(`INSERT INTO ${at} VALUES (1, ?, ?, ?, ?, ?)`, big, 1.5, words, new Uint8Array([0, 255, 1]), null);
    db.defaultSafeIntegers(true);
    const row = await db.get(`SELECT * FROM ${at}`);
    assert.deepEqual([row.i, row.f, row.s, [...row.b], row.n], [big, 1.5, words, [0, 255, 1], null]);
    const named = await (await db.prepare("SELECT :a || @b || $c AS x")).get({ a: "1", b: "2", c: "3" });
    assert.equal(named.x, "123");
    await db.exec("BEGIN TRANSACTION READONLY");
    await assert.rejects(db.run(`DELETE FROM ${at}`), { code: "SQLITE_READONLY" });
    await db.exec("ROLLBACK");
    await assert.rejects(db.batch([`DELETE FROM ${at}`, `INSERT INTO ${at}(id) VALUES (7), (7)`], "immediate"), /UNIQUE/);
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[1]]);
    await assert.rejects(connect({ url: `${url}/t/globex/db/`, authToken: owner }).get("SELECT 1"), /no such tenant/);
  });

  test(`serverless tokens that end ${new URL(address).pathname}`, async () => {
    for (const end of ["revoked", "expired"]) {
      const at = await table();
      const token = await issue("admin", end === "expired" ? "1s" : "15m");
      const db = connect({ url: address, authToken: token });
      await db.exec("BEGIN IMMEDIATE");
      await db.run(`INSERT INTO ${at} VALUES (1, 'a')`);
      await (end === "expired" ? later(1200) : revoke(token));
      await assert.rejects(db.exec("COMMIT"), /401/); // it does not read what this answer says
      await assert.rejects(db.get("SELECT 1"), /not valid/);
      await sql(`INSERT INTO ${at} VALUES (2, 'b')`); // waits for the rollback
      assert.deepEqual(await sql(`SELECT id FROM ${at}`), [[2]]);
      assert.equal((await rolledBack(at)).length, 1);
    }
  });

  test(`Rust core ${new URL(address).pathname}`, async () => {
    const db = new Database(address, { authToken: owner });
    const at = await table("id INTEGER PRIMARY KEY, v, b BLOB");
    const insert = await db.prepare(`INSERT INTO ${at} VALUES (?, ?, ?)`);
    await insert.run([1, "a", Buffer.from([0, 255])]);
    const get = await db.prepare(`SELECT * FROM ${at} WHERE id = ?`);
    const row = await get.get([1]);
    assert.equal(row.v, "a");
    assert.deepEqual([...row.b], [0, 255]);
    const safe = await db.prepare("SELECT 9223372036854775807 AS n");
    assert.equal((await safe.safeIntegers(true).get()).n, 9223372036854775807n);
    await assert.rejects(async () => insert.run([1, "b", null]), /UNIQUE|constraint/i);
    // Over the network this client leaves named arguments out of what it sends. That
    // is refused, as a query without them is another one.
    const named = await db.prepare("SELECT :a AS x");
    await assert.rejects(async () => named.get({ a: "1" }), /ARGS_INVALID/);
    const odd = await (await db.prepare("SELECT ? AS f, ? AS n, typeof(?) AS t")).get([1.5, null, big]);
    assert.deepEqual([odd.f, odd.n, odd.t], [1.5, null, "integer"]);
    await db.exec("BEGIN");
    await db.exec(`INSERT INTO ${at} VALUES (2, 'b', NULL)`);
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[1]]);
    await db.exec("COMMIT");
    await db.exec("BEGIN");
    await db.exec(`DELETE FROM ${at}`);
    await db.exec("ROLLBACK");
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[2]]);
    await later(5500); // longer than a stream waits
    assert.equal((await get.get([2])).v, "b");
    db.close();

    for (const end of ["revoked", "expired"]) {
      const token = await issue("admin", end === "expired" ? "1s" : "15m");
      const short = new Database(address, { authToken: token });
      await short.exec("BEGIN IMMEDIATE");
      await short.exec(`DELETE FROM ${at}`);
      await (end === "expired" ? later(1200) : revoke(token));
      await assert.rejects(async () => short.exec("COMMIT"), /not valid/);
      await assert.rejects(async () => short.exec("SELECT 1"));
      short.close();
      await sql(`UPDATE ${at} SET v = v`); // waits for the rollback
    }
    assert.equal((await rolledBack(at)).length, 2);
    const foreign = new Database(`${url}/t/globex/db/`, { authToken: owner });
    await assert.rejects(async () => foreign.exec("DELETE FROM x"), /no such tenant/);
    foreign.close();
    const only = new Database(address, { authToken: owner });
    await only.exec("BEGIN TRANSACTION READONLY");
    await assert.rejects(async () => only.exec(`DELETE FROM ${at}`), /readonly/i);
    only.close();
    const reader = new Database(address, { authToken: analyst });
    await assert.rejects(async () => reader.exec(`DELETE FROM ${at}`), /not allowed/);
    reader.close();
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[2]]);
  });
}
