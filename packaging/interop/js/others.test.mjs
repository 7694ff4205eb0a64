// Drizzle with its migrator, the serverless client, and the client with a core in
// Rust, under which those of Python, PHP and .NET sit as well.
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
import { connect } from "@tursodatabase/serverless";
import Database from "libsql/promise";
import { addresses, issue, revoke, sql, table } from "./coffer.mjs";

const owner = await issue("owner");
const analyst = await issue("analyst");

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
    await new Promise((done) => setTimeout(done, 5500)); // longer than a stream waits
    assert.equal((await db.get(`SELECT count(*) AS n FROM ${at}`)).n, 4);
    const reader = connect({ url: address, authToken: analyst });
    await assert.rejects(reader.run(`DELETE FROM ${at}`), /not allowed/);
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
    await db.exec("BEGIN");
    await db.exec(`INSERT INTO ${at} VALUES (2, 'b', NULL)`);
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[1]]);
    await db.exec("COMMIT");
    await db.exec("BEGIN");
    await db.exec(`DELETE FROM ${at}`);
    await db.exec("ROLLBACK");
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[2]]);
    await new Promise((done) => setTimeout(done, 5500)); // longer than a stream waits
    assert.equal((await get.get([2])).v, "b");
    db.close();

    const token = await issue("admin");
    const short = new Database(address, { authToken: token });
    await short.exec("BEGIN IMMEDIATE");
    await short.exec(`DELETE FROM ${at}`);
    await revoke(token);
    await assert.rejects(async () => short.exec("COMMIT"));
    short.close();
    const reader = new Database(address, { authToken: analyst });
    await assert.rejects(async () => reader.exec(`DELETE FROM ${at}`), /not allowed/);
    reader.close();
    assert.deepEqual(await sql(`SELECT count(*) FROM ${at}`), [[2]]);
  });
}
