// Prisma's client for the schemas of Auth.js's documentation: written by Prisma's own generator, once for each version of it.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

const HERE = join(dirname(fileURLToPath(import.meta.url)), "..");
// Below node_modules, so that what was generated finds the packages that it imports.
const CACHE = join(HERE, "node_modules", ".cache", "prisma-clients");
const VERSION = JSON.parse(readFileSync(join(HERE, "node_modules", "prisma", "package.json"), "utf8")).version;
const GENERATE_MS = 60_000;

const TOKENS = ["refresh_token", "access_token", "token_type", "scope", "id_token", "session_state"];

const PROVIDERS = { postgres: "postgresql", sqlite: "sqlite", mariadb: "mysql" };

/** As authjs.dev has it now, or as next-auth 4's documentation (`prisma_classic`). */
function schemaOf(layout, engine) {
  const isClassic = layout === "prisma_classic";
  const times = isClassic ? "" : "createdAt DateTime @default(now())\n  updatedAt DateTime @updatedAt";
  // Only PostgreSQL's variant of the documentation leaves the id out.
  const sessionId = isClassic || engine !== "postgres" ? "id String @id @default(cuid())" : "";
  const email = !isClassic && engine === "postgres" ? "String" : "String?";
  const username = layout === "prisma" && engine === "mariadb" ? "username String?" : "";
  const cascade = !isClassic && engine === "mariadb" ? "" : ", onDelete: Cascade";
  return `
generator client {
  provider   = "prisma-client"
  output     = "./out"
  engineType = "client"
}
datasource db {
  provider = "${PROVIDERS[engine]}"
}
model User {
  id String @id @default(cuid())
  name String?
  ${username}
  email ${email} @unique
  emailVerified DateTime?
  image String?
  accounts Account[]
  sessions Session[]
  ${times}
}
model Account {
  ${isClassic ? "id String @id @default(cuid())" : ""}
  userId String
  type String
  provider String
  providerAccountId String
  expires_at Int?
  ${TOKENS.map((name) => `${name} String?`).join("\n  ")}
  ${times}
  user User @relation(fields: [userId], references: [id], onDelete: Cascade)
  ${isClassic ? "@@unique" : "@@id"}([provider, providerAccountId])
}
model Session {
  ${sessionId}
  sessionToken String @unique
  userId String
  expires DateTime
  user User @relation(fields: [userId], references: [id]${cascade})
  ${times}
}
model VerificationToken {
  identifier String
  token String ${isClassic ? "@unique" : ""}
  expires DateTime
  ${isClassic ? "@@unique" : "@@id"}([identifier, token])
}
`;
}

async function generate(folder, schema) {
  const made = `${folder}.${process.pid}`;
  mkdirSync(made, { recursive: true });
  writeFileSync(join(made, "schema.prisma"), schema);
  const cli = join(HERE, "node_modules", "prisma", "build", "index.js");
  // The engine for migrations is not needed, and naming a program keeps the command line from fetching it.
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, PRISMA_HIDE_UPDATE_MESSAGE: "1", CHECKPOINT_DISABLE: "1" };
  const args = [cli, "generate", "--schema", join(made, "schema.prisma")];
  await promisify(execFile)(process.execPath, args, { env, cwd: made, timeout: GENERATE_MS });
  const entry = join(made, "out", "client.ts");
  await build({ entryPoints: [entry], outfile: join(made, "client.mjs"), bundle: true, format: "esm", platform: "node", packages: "external", logLevel: "error" });
  rmSync(folder, { recursive: true, force: true });
  renameSync(made, folder);
}

const clients = new Map();

/** The class `PrismaClient` for a layout on an engine. */
export function prismaClient(layout, engine) {
  const name = `${layout}.${engine}`;
  if (!clients.has(name)) clients.set(name, load(layout, engine));
  return clients.get(name);
}

async function load(layout, engine) {
  const schema = schemaOf(layout, engine);
  const key = createHash("sha256").update(`${VERSION}\n${schema}`).digest("hex").slice(0, 16);
  const folder = join(CACHE, `${layout}.${engine}.${key}`);
  if (!existsSync(join(folder, "client.mjs"))) await generate(folder, schema);
  return (await import(pathToFileURL(join(folder, "client.mjs")))).PrismaClient;
}
