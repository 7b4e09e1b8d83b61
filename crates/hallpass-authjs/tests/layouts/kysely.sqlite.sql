CREATE TABLE "User" ("id" varchar PRIMARY KEY, "name" text, "email" text NOT NULL UNIQUE, "emailVerified" timestamptz, "image" text);
CREATE TABLE "Session" ("id" varchar PRIMARY KEY, "userId" uuid NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE, "sessionToken" text NOT NULL UNIQUE, "expires" timestamptz NOT NULL);
