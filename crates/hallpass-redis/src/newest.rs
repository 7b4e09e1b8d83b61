//! The newest marks that are not settled, as a check reads them beside its sessions.

use redis::Value;

use crate::answer::{Read, Unreadable, optional};
use crate::keys::{Place, SHARDS};

/// What was read.
#[derive(Debug)]
pub(crate) enum Newest {
    /// Of one shard, or of all.
    Is(u64),
    /// 8 bytes for each shard.
    OfEach(Vec<u8>),
}

impl Newest {
    /// As one server keeps them: one string for all shards, which is absent when nothing is marked.
    pub(crate) fn read(value: Value) -> Read<Self> {
        match optional(value)? {
            None => Ok(Self::Is(0)),
            Some(bytes) if bytes.len() % 8 == 0 && bytes.len() <= 8 * SHARDS => Ok(Self::OfEach(bytes)),
            Some(_) => Err(Unreadable),
        }
    }

    /// As a Cluster keeps that of one shard: a number in digits.
    pub(crate) fn read_one(value: Value) -> Read<Self> {
        let Some(text) = optional(value)? else { return Ok(Self::Is(0)) };
        std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).map(Self::Is).ok_or(Unreadable)
    }

    /// The newest mark of a shard; 0 without one.
    pub(crate) fn of(&self, place: Place) -> u64 {
        match self {
            Self::Is(number) => *number,
            Self::OfEach(bytes) => {
                let bytes = bytes.get(8 * place.index()..).and_then(<[u8]>::first_chunk);
                bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_its_own_number_and_damage_is_told() {
        let newest = Newest::read(Value::BulkString([0_u64, 7].map(u64::to_be_bytes).concat())).unwrap();
        assert_eq!([0, 1, 2, 255].map(|shard| newest.of(Place::shard(shard))), [0, 7, 0, 0]);
        assert_eq!(Newest::read(Value::Nil).unwrap().of(Place::shard(9)), 0);
        for length in [7, 8 * SHARDS + 8] {
            assert!(Newest::read(Value::BulkString(vec![0; length])).is_err(), "{length} bytes");
        }
        assert_eq!(Newest::read_one(Value::BulkString(b"12".to_vec())).unwrap().of(Place::shard(9)), 12);
        assert!(Newest::read_one(Value::BulkString(b"x".to_vec())).is_err());
    }
}
