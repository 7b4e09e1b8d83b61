//! The hallpass server and command line: sign-in, session manager, HTTP API and operators' commands
