-- What hallpass alone knows of the users of an application with Auth.js, beside whose tables these lie.
CREATE TABLE hp.hallpass_account_authjs_users (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  known_email text,
  operator boolean NOT NULL,
  disabled_at bigint,
  created_at bigint,
  credentials_version bigint NOT NULL,
  password_hash text
);
