CREATE TABLE IF NOT EXISTS hallpass_account_identities (
  issuer VARBINARY(255) NOT NULL,
  subject VARBINARY(255) NOT NULL,
  account_id VARBINARY(255) NOT NULL,
  provider VARBINARY(64) NOT NULL,
  email VARBINARY(255) NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (issuer, subject),
  KEY hallpass_account_identities_account (account_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
-- Where sessions came from. No foreign key: the sessions may live in another database.
CREATE TABLE IF NOT EXISTS hallpass_account_provider_sessions (
  session_id VARBINARY(64) NOT NULL,
  provider VARBINARY(64) NOT NULL,
  issuer VARBINARY(255) NOT NULL,
  subject VARBINARY(255) NOT NULL,
  sid VARBINARY(255) NULL,
  acr VARBINARY(255) NULL,
  auth_time BIGINT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (session_id),
  KEY hallpass_account_provider_sessions_sid (issuer, sid, session_id),
  KEY hallpass_account_provider_sessions_subject (issuer, subject, session_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
-- Logouts that providers sent: each is taken once, and meets sign-ins that were under way.
CREATE TABLE IF NOT EXISTS hallpass_account_logouts (
  issuer VARBINARY(255) NOT NULL,
  jti_hash VARBINARY(32) NOT NULL,
  subject VARBINARY(255) NULL,
  sid VARBINARY(255) NULL,
  issued_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  done TINYINT NOT NULL,
  PRIMARY KEY (issuer, jti_hash),
  KEY hallpass_account_logouts_received (received_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
