//! What a hallpass store must pass: every verb, every refusal, every interleaving with a revocation
