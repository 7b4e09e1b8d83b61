-- As the adapter's documentation makes it.
CREATE TABLE "User" ("id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "name" text, "email" text NOT NULL UNIQUE, "emailVerified" timestamptz, "image" text);
CREATE TABLE "Session" ("id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "userId" uuid NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE, "sessionToken" text NOT NULL UNIQUE, "expires" timestamptz NOT NULL);
CREATE INDEX "Session_userId_index" ON "Session" ("userId");
