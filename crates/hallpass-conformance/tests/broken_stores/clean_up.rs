//! Stores that get settling and sweeping wrong.

use std::sync::atomic::Ordering;

use hallpass_core::store::{Settled, Store as _, Sweep, Swept};
use hallpass_core::{SessionId, State, StoreError, Timestamp};

use crate::broken::{Broken, lock};
use crate::defect::Defect as D;

impl Broken {
    /// What `settle` does.
    pub(crate) async fn write_ends(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        self.forget();
        if self.is(D::SettleCountsWhatItSelected) {
            let selected: Vec<SessionId> = lock(&self.data.marked).keys().copied().take(batch as usize).collect();
            tokio::task::yield_now().await;
            let mut marked = lock(&self.data.marked);
            for id in &selected {
                marked.remove(id);
            }
            return Ok(Settled { rows: selected.len() as u64, more: !marked.is_empty() });
        }
        let marked = std::mem::take(&mut *lock(&self.data.marked));
        match self.defect {
            D::SettleOverwritesTheFirstEnd => {
                for (id, end) in marked {
                    self.tamper(id, |row| row.session.state = State::Ended(end));
                }
            }
            D::MarkGoesAfterOneBatch => {
                for id in marked.into_keys().skip(batch as usize) {
                    self.tamper(id, |row| row.session.state = State::Live);
                }
            }
            D::MarkGoesAMomentBeforeItsRows => {
                for id in marked.keys() {
                    self.tamper(*id, |row| row.session.state = State::Live);
                }
                tokio::task::yield_now().await;
                for (id, end) in marked {
                    self.tamper(id, |row| row.session.state = State::Ended(end));
                }
            }
            _ => {}
        }
        self.data.inner.settle(batch, now).await
    }

    /// What `sweep` does.
    pub(crate) async fn remove(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.forget();
        let mut sweep = *sweep;
        let mut removed = 0;
        if self.is(D::SweepForgetsNodes) {
            self.data.inner.tables().nodes.clear();
        }
        if self.is(D::SweepFailsWhenItMeetsAnother) {
            if self.data.sweeping.swap(true, Ordering::SeqCst) {
                return Err(StoreError::unavailable("deadlock found when trying to get a lock"));
            }
            tokio::task::yield_now().await;
            self.data.sweeping.store(false, Ordering::SeqCst);
        }
        if self.is(D::SweepCountsWhatItSelected) {
            let selected = self.selected(&sweep);
            tokio::task::yield_now().await;
            let mut swept = self.data.inner.sweep(&sweep).await?;
            swept.expired += selected.saturating_sub(swept.expired + swept.ended);
            return Ok(swept);
        }
        match self.defect {
            D::SweepRemovesLiveRows => self.data.inner.tables().rows.retain(|_, row| {
                let stays = row.session.state != State::Live || row.session.renewed_at > sweep.ended_before;
                removed += u64::from(!stays);
                stays
            }),
            D::SweepRemovesEndedRowsWithTheirDeadline => self.data.inner.tables().rows.retain(|_, row| {
                let ended = row.session.state != State::Live;
                let stays = !(ended && row.session.idle_expires_at <= sweep.expired_before);
                removed += u64::from(!stays);
                stays
            }),
            D::SweepIgnoresTheBatch => sweep.batch = u32::MAX,
            D::MarkGoesAMomentWhileSwept => {
                let marked = std::mem::take(&mut *lock(&self.data.marked));
                for id in marked.keys() {
                    self.tamper(*id, |row| row.session.state = State::Live);
                }
                tokio::task::yield_now().await;
                for (id, end) in marked {
                    self.tamper(id, |row| row.session.state = State::Ended(end));
                }
            }
            D::LogIsSweptInTheMiddle => self.data.inner.tables().log.retain(|change| change.at > sweep.log_before),
            D::MarkIsSweptTooEarly => {
                let marked = std::mem::take(&mut *lock(&self.data.marked));
                for (id, end) in marked {
                    if end.at <= sweep.ended_before {
                        self.tamper(id, |row| row.session.state = State::Live);
                    }
                }
            }
            _ => {}
        }
        let mut swept = self.data.inner.sweep(&sweep).await?;
        swept.expired += removed;
        let mut tables = self.data.inner.tables();
        if self.is(D::LogNumbersStartAnewAfterASweep) && tables.log.is_empty() {
            tables.head = 0;
        }
        Ok(swept)
    }

    /// How many rows a sweep, or a settling, would select first.
    fn selected(&self, sweep: &Sweep) -> u64 {
        let tables = self.data.inner.tables();
        let dead = tables.rows.values().filter(|row| match &row.session.state {
            State::Live => row.session.idle_expires_at <= sweep.expired_before,
            State::Ended(end) => end.at <= sweep.ended_before,
        });
        (dead.count() as u64).min(u64::from(sweep.batch))
    }
}
