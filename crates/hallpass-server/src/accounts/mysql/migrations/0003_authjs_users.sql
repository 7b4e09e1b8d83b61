-- What hallpass alone knows of the users of an application with Auth.js, beside whose tables these lie.
CREATE TABLE IF NOT EXISTS hallpass_account_authjs_users (
  id VARBINARY(255) NOT NULL,
  known_email VARBINARY(1020) NULL,
  operator TINYINT NOT NULL,
  disabled_at BIGINT NULL,
  created_at BIGINT NULL,
  credentials_version BIGINT NOT NULL,
  password_hash VARBINARY(1024) NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
