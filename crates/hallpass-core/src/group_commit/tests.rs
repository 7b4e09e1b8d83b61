use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Goes,
    /// Stands still for ever.
    Sticks,
}

type Tell = fn(u32) -> Told<u32, &'static str>;

/// Commits numbers, each commit in 10 ms.
struct Fake {
    queue: Queue<Self>,
    at_once: usize,
    /// The numbers of each commit of several, and of each that went alone.
    together: Mutex<Vec<Vec<u32>>>,
    alone: Mutex<Vec<u32>>,
    /// What those of several are told; `None` if nobody tells.
    tell: Option<Tell>,
    /// A number that sticks when it goes alone.
    sticks: u32,
    course: Course,
    connections: Semaphore,
}

const COMMIT: Duration = Duration::from_millis(10);

fn fake() -> Fake {
    Fake {
        queue: Queue::default(),
        at_once: 4,
        together: Mutex::default(),
        alone: Mutex::default(),
        tell: Some(Told::Done),
        sticks: u32::MAX,
        course: Course::Goes,
        connections: Semaphore::new(100),
    }
}

impl Committer for Fake {
    type Change = u32;
    type Answer = u32;
    type Failure = &'static str;

    fn queue(&self) -> &Queue<Self> {
        &self.queue
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    async fn alone(&self, change: &u32, _: Instant) -> Result<u32, &'static str> {
        if *change == self.sticks {
            std::future::pending::<()>().await;
        }
        sleep(COMMIT).await;
        self.alone.lock().unwrap().push(*change);
        Ok(*change)
    }

    async fn together(&self) {
        let _connection = self.connections.acquire().await.unwrap();
        let waiting = self.queue.next();
        self.together.lock().unwrap().push(waiting.iter().map(|one| *one.change()).collect());
        if self.course == Course::Sticks {
            std::future::pending::<()>().await;
        }
        sleep(COMMIT).await;
        if let Some(tell) = self.tell {
            for one in waiting {
                let number = *one.change();
                one.tell(tell(number));
            }
        }
    }

    fn unanswered(&self) -> &'static str {
        "unanswered"
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

fn committing(fake: &Arc<Fake>, change: u32) -> JoinHandle<Result<u32, &'static str>> {
    let fake = Arc::clone(fake);
    tokio::spawn(async move { commit(&fake, &change, Instant::now() + PATIENCE).await })
}

/// Each of them, in a task of its own, one after the other.
async fn all(fake: &Arc<Fake>, changes: impl IntoIterator<Item = u32>) -> Vec<JoinHandle<Result<u32, &'static str>>> {
    let mut all = Vec::new();
    for change in changes {
        all.push(committing(fake, change));
        tokio::task::yield_now().await;
    }
    all
}

#[tokio::test(start_paused = true)]
async fn the_first_goes_at_once_and_those_that_come_meanwhile_go_together() {
    let fake = Arc::new(fake());
    let begun = Instant::now();
    for (change, answer) in (0..150).zip(all(&fake, 0..150).await) {
        assert_eq!(answer.await.unwrap(), Ok(change));
    }
    assert_eq!(*fake.alone.lock().unwrap(), [0]);
    let together: Vec<Vec<u32>> = vec![(1..65).collect(), (65..129).collect(), (129..150).collect()];
    assert_eq!(*fake.together.lock().unwrap(), together, "in the order in which they came, {MOST} at most");
    assert_eq!(begun.elapsed(), 4 * COMMIT, "no timer");
    // And then as if nothing had been.
    assert_eq!(committing(&fake, 7).await.unwrap(), Ok(7));
    assert_eq!(*fake.alone.lock().unwrap(), [0, 7]);
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_while_waiting_is_left_out_and_takes_nobody_along() {
    let fake = Arc::new(fake());
    let answers = all(&fake, 0..4).await;
    answers[2].abort();
    // In the commit of 1 and 3.
    sleep(COMMIT + COMMIT / 2).await;
    answers[1].abort();
    let mut rest = all(&fake, [4]).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await.is_ok(), n == 0 || n == 3, "{n}");
    }
    assert_eq!(rest.remove(0).await.unwrap(), Ok(4));
    assert_eq!(*fake.together.lock().unwrap(), [vec![1, 3], vec![4]]);
}

/// The one that began the commit of the others is nobody's: also where it is the first that gives up.
#[tokio::test(start_paused = true)]
async fn a_first_one_that_gives_up_is_followed_by_the_others() {
    let fake = Arc::new(fake());
    let mut answers = all(&fake, 0..3).await;
    answers.remove(0).abort();
    for answer in answers {
        assert!(answer.await.unwrap().is_ok());
    }
    assert!(fake.alone.lock().unwrap().is_empty());
}

/// What waits for a connection has not begun.
#[tokio::test(start_paused = true)]
async fn who_gives_up_before_there_is_a_connection_is_left_out() {
    let fake = Arc::new(Fake { connections: Semaphore::new(0), ..fake() });
    let answers = all(&fake, 0..3).await;
    sleep(2 * COMMIT).await;
    answers[1].abort();
    fake.connections.add_permits(1);
    sleep(2 * COMMIT).await;
    assert_eq!(*fake.together.lock().unwrap(), [vec![2]]);
}

#[tokio::test(start_paused = true)]
async fn others_go_on_beside_one_that_is_stuck_and_then_as_if_it_were_not() {
    let fake = Arc::new(Fake { sticks: 0, ..fake() });
    let stuck = committing(&fake, 0);
    tokio::task::yield_now().await;
    let begun = Instant::now();
    for answer in all(&fake, 1..4).await {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(begun.elapsed(), BESIDE_AFTER + COMMIT);
    assert_eq!(*fake.together.lock().unwrap(), [vec![1, 2, 3]]);
    // They share their commits as before, and wait no more for the stuck one.
    let begun = Instant::now();
    for answer in all(&fake, 4..7).await {
        answer.await.unwrap().unwrap();
    }
    assert_eq!((begun.elapsed(), fake.alone.lock().unwrap().as_slice()), (2 * COMMIT, [4].as_slice()));
    assert_eq!(*fake.together.lock().unwrap(), [vec![1, 2, 3], vec![5, 6]]);
    assert!(!stuck.is_finished());
}

#[tokio::test(start_paused = true)]
async fn not_too_many_are_stuck_at_once_and_everybody_is_answered_in_time() {
    let fake = Arc::new(Fake { course: Course::Sticks, sticks: 0, ..fake() });
    let begun = Instant::now();
    let mut answers = all(&fake, 0..300).await;
    answers.remove(0).abort();
    sleep(PATIENCE / 2).await;
    assert_eq!(fake.together.lock().unwrap().len(), 4, "as many as may be stuck");
    for answer in answers {
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap(), Err("unanswered"));
    }
    assert_eq!(begun.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn those_of_a_commit_that_was_undone_go_alone_and_those_of_a_failed_one_do_not() {
    let fake = Arc::new(Fake {
        tell: Some(|number| if number % 2 == 0 { Told::Alone } else { Told::Failed("failed") }),
        ..fake()
    });
    for (n, answer) in all(&fake, 0..5).await.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert_eq!(answer, if n % 2 == 0 { Ok(n as u32) } else { Err("failed") });
    }
    assert_eq!(*fake.alone.lock().unwrap(), [0, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_told_anything_is_not_kept_waiting() {
    let fake = Arc::new(Fake { tell: None, ..fake() });
    let begun = Instant::now();
    let answers = all(&fake, 0..3).await;
    let mut told = Vec::new();
    for answer in answers {
        told.push(answer.await.unwrap());
    }
    assert_eq!(told, [Ok(0), Err("unanswered"), Err("unanswered")]);
    assert_eq!(begun.elapsed(), 2 * COMMIT);
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_go_alone() {
    let fake = Arc::new(Fake { course: Course::Sticks, sticks: 0, at_once: 1, ..fake() });
    let mut answers = all(&fake, 0..MOST_WAITING as u32 + 1).await;
    assert_eq!(timeout(2 * COMMIT, committing(&fake, 10_000)).await.unwrap().unwrap(), Ok(10_000), "there was no room");
    // One that goes away leaves room.
    answers.pop().unwrap().abort();
    tokio::task::yield_now().await;
    assert!(timeout(2 * COMMIT, committing(&fake, 20_000)).await.is_err(), "it waits");
    assert_eq!(*fake.alone.lock().unwrap(), [10_000]);
}

/// A task that is never run, because its runtime is shutting down, leaves nobody waiting, and the next one begins anew.
#[test]
fn a_runtime_that_ends_keeps_nobody_waiting() {
    let fake = Arc::new(fake());
    let first = {
        let state = &mut fake.queue.lock();
        state.begin(Instant::now())
    };
    let (tell, mut told) = oneshot::channel();
    fake.queue.lock().waiting.push_back(Waiting { change: 1, deadline: Instant::now(), tell });
    // Outside of any runtime.
    drop(Turn { committer: Arc::clone(&fake), number: first, begun: true });
    assert!(matches!(told.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    let state = fake.queue.lock();
    assert!(state.turns.is_empty() && state.waiting.is_empty());
}
