use super::*;

const CHEAP: PasswordCost = PasswordCost { memory_kib: 64, iterations: 1, parallelism: 1 };

fn passwords() -> Passwords {
    Passwords::new(CHEAP, 2, 8).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

#[tokio::test]
async fn right_and_wrong() {
    let passwords = passwords();
    let hash = passwords.hash(&password("correct horse")).await.unwrap();
    assert!(hash.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    let verdict = |text| {
        let passwords = passwords.clone();
        let hash = hash.clone();
        async move { passwords.verify(&password(text), Some(&hash)).await.unwrap() }
    };
    assert_eq!(verdict("correct horse").await, Verdict::Right { rehash: false });
    // Exactly as received (ASVS 6.2.8): no trimming, no case folding, no cutting.
    for wrong in ["correct horsf", "correct horse ", " correct horse", "Correct horse", "correct hors"] {
        assert_eq!(verdict(wrong).await, Verdict::Wrong, "{wrong}");
    }
}

#[tokio::test]
async fn the_end_of_a_long_password_counts() {
    let passwords = passwords();
    let long = "x".repeat(MAX_BYTES);
    let hash = passwords.hash(&password(&long)).await.unwrap();
    let other = format!("{}y", &long[1..]);
    assert_eq!(passwords.verify(&password(&other), Some(&hash)).await.unwrap(), Verdict::Wrong);
}

#[tokio::test]
async fn salts_differ() {
    let passwords = passwords();
    let one = passwords.hash(&password("correct horse")).await.unwrap();
    let two = passwords.hash(&password("correct horse")).await.unwrap();
    assert_ne!(one.expose(), two.expose());
}

#[tokio::test]
async fn an_unknown_user_costs_exactly_one_verification_with_the_same_parameters() {
    let passwords = passwords();
    let hash = passwords.hash(&password("correct horse")).await.unwrap();
    assert_eq!(passwords.verifications(), 0);
    passwords.verify(&password("wrong guess"), Some(&hash)).await.unwrap();
    assert_eq!(passwords.verifications(), 1);
    let verdict = passwords.verify(&password("wrong guess"), None).await.unwrap();
    assert_eq!(verdict, Verdict::Wrong);
    assert_eq!(passwords.verifications(), 2);

    let dummy = phc::PasswordHash::new(passwords.shared.dummy.expose()).unwrap();
    let real = phc::PasswordHash::new(hash.expose()).unwrap();
    assert_eq!(dummy.algorithm, real.algorithm);
    assert_eq!(dummy.params, real.params);
}

#[tokio::test]
async fn changed_parameters_ask_for_a_rehash() {
    let old = passwords().hash(&password("correct horse")).await.unwrap();
    for changed in [
        PasswordCost { memory_kib: 128, ..CHEAP },
        PasswordCost { iterations: 2, ..CHEAP },
        PasswordCost { parallelism: 2, ..CHEAP },
    ] {
        let passwords = Passwords::new(changed, 1, 1).unwrap();
        assert_eq!(
            passwords.verify(&password("correct horse"), Some(&old)).await.unwrap(),
            Verdict::Right { rehash: true }
        );
        assert_eq!(passwords.verify(&password("wrong guess"), Some(&old)).await.unwrap(), Verdict::Wrong);
    }
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once_and_recovers() {
    let passwords = Passwords::new(CHEAP, 1, 1).unwrap();
    let core = Arc::clone(&passwords.shared.cores).acquire_owned().await.unwrap();
    let in_line = tokio::spawn({
        let passwords = passwords.clone();
        async move {
            let _running = Arc::clone(&passwords.shared.places).acquire_owned().await.unwrap();
            passwords.verify(&password("correct horse"), None).await
        }
    });
    // The line is full as soon as both places are taken.
    tokio::time::timeout(Duration::from_secs(5), async {
        while passwords.shared.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let refused = passwords.verify(&password("correct horse"), None).await;
    assert!(matches!(refused, Err(PasswordError::Overloaded { .. })), "{refused:?}");
    assert_eq!(passwords.verifications(), 0);

    drop(core);
    assert_eq!(in_line.await.unwrap().unwrap(), Verdict::Wrong);
    assert!(passwords.verify(&password("correct horse"), None).await.is_ok());
}

#[tokio::test]
async fn an_abandoned_request_keeps_its_place_only_while_it_computes() {
    let passwords = Passwords::new(CHEAP, 1, 1).unwrap();
    let core = Arc::clone(&passwords.shared.cores).acquire_owned().await.unwrap();
    let guess = password("correct horse");
    let waiting = passwords.verify(&guess, None);
    assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
    drop(core);
    assert_eq!(passwords.shared.places.available_permits(), 2);
}

#[tokio::test]
async fn damaged_hashes_are_errors_not_wrong_passwords() {
    let passwords = passwords();
    for bad in [
        "",
        "hunter2",
        "$argon2id$v=19$m=64,t=1,p=1$",
        "$scrypt$ln=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
    ] {
        let stored = PasswordHash::from_stored(bad.to_owned());
        let outcome = passwords.verify(&password("correct horse"), Some(&stored)).await;
        assert!(matches!(outcome, Err(PasswordError::BadHash)), "{bad}: {outcome:?}");
    }
}

#[test]
fn bounds() {
    let try_new = |text: &str| Password::new(text.to_owned()).map(|_| ());
    assert_eq!(try_new("1234567"), Err(PasswordRefused::TooShort));
    assert_eq!(try_new("12345678"), Ok(()));
    assert_eq!(try_new(&"x".repeat(1024)), Ok(()));
    assert_eq!(try_new(&"x".repeat(1025)), Err(PasswordRefused::TooLong));
    assert_eq!(try_new("1234\x005678"), Err(PasswordRefused::Nul));
}

#[tokio::test]
async fn debug_shows_neither_password_nor_hash() {
    let passwords = passwords();
    let secret = password("correct horse");
    let hash = passwords.hash(&secret).await.unwrap();
    let shown = format!("{secret:?} {hash:?} {passwords:?}");
    assert!(!shown.contains("horse") && !shown.contains("$argon2id"), "{shown}");
}
