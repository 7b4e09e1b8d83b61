CREATE TABLE IF NOT EXISTS hallpass_account_users (
  id VARBINARY(255) NOT NULL,
  email VARBINARY(254) NOT NULL,
  name VARBINARY(1020) NOT NULL,
  operator TINYINT NOT NULL,
  disabled_at BIGINT NULL,
  created_at BIGINT NOT NULL,
  credentials_version BIGINT NOT NULL,
  password_hash VARBINARY(1024) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY hallpass_account_users_email (email)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
CREATE TABLE IF NOT EXISTS hallpass_account_session_ends (
  number BIGINT NOT NULL AUTO_INCREMENT,
  user_id VARBINARY(255) NOT NULL,
  reason VARBINARY(64) NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
CREATE TABLE IF NOT EXISTS hallpass_account_server_secrets (
  name VARBINARY(64) NOT NULL,
  value VARBINARY(1024) NOT NULL,
  PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
-- One row, always: who offers a set-up code or uses one takes its lock. No code, and long over: nothing is offered.
CREATE TABLE IF NOT EXISTS hallpass_account_setup (
  one TINYINT NOT NULL,
  code_hash VARBINARY(32) NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (one)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
INSERT IGNORE INTO hallpass_account_setup (one, code_hash, expires_at) VALUES (1, '', 0);
