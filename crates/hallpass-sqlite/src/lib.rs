//! hallpass sessions in SQLite: one writer with group commit, a reader per thread, safe with several processes on one file
