use super::*;

const CHAIN: ChainId = ChainId::new([7; 32]);

fn entry(height: u64) -> Entry {
    let length = 200 + usize::try_from(height).unwrap() * 7;
    let block = (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(height as u8) | 1).collect();
    Entry { height: Height(height), block }
}

/// A block of the other branch.
fn other(height: u64) -> Entry {
    let mut entry = entry(height);
    entry.block.reverse();
    entry
}

fn open(dir: &Path) -> (BlockLog, Option<TornTail>) {
    BlockLog::open(dir, CHAIN).unwrap()
}

fn content(log: &BlockLog) -> Vec<Vec<u8>> {
    (log.lowest().0..=log.tip().0).map(|height| log.read(Height(height)).unwrap().unwrap()).collect()
}

/// A log of six blocks whose last batch replaces the last two by three others.
fn reorganised(dir: &Path) -> Vec<u8> {
    let (mut log, torn) = open(dir);
    assert_eq!(torn, None);
    for height in 1..=5 {
        log.append(&[entry(height)]).unwrap();
    }
    log.append(&[other(4), other(5), other(6)]).unwrap();
    assert_eq!(log.tip(), Height(6));
    fs::read(dir.join(FILE_NAME)).unwrap()
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    reorganised(dir.path());
    let (log, torn) = open(dir.path());
    assert_eq!(torn, None);
    let expected: Vec<_> = [entry(1), entry(2), entry(3), other(4), other(5), other(6)].map(|e| e.block).into();
    assert_eq!(content(&log), expected);
    assert_eq!(log.range(Height(2), usize::MAX, 2).unwrap(), expected[1..3]);
    assert_eq!(log.range(Height(2), 1, 9).unwrap(), expected[1..2]);
    assert_eq!(log.range(Height(7), 1, 9).unwrap(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_file_cut_at_any_byte_opens_with_a_whole_prefix_of_its_batches() {
    let dir = tempfile::tempdir().unwrap();
    let whole = reorganised(dir.path());
    let path = dir.path().join(FILE_NAME);
    let before: Vec<_> = (1..=5).map(|height| entry(height).block).collect();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        if length < FILE_HEAD {
            assert!(matches!(BlockLog::open(dir.path(), CHAIN), Err(OpenError::Head { .. })), "{length}");
            continue;
        }
        let (mut log, torn) = open(dir.path());
        let blocks = content(&log);
        assert_eq!(blocks, before[..blocks.len()], "{length}");
        assert_eq!(torn.map_or(0, |torn| torn.bytes), length as u64 - log.size(), "{length}");
        // What was cut leaves a log that goes on.
        log.append(&[other(log.tip().0 + 1)]).unwrap();
        let tip = log.tip();
        assert_eq!(open(dir.path()), (log, None), "{length}");
        assert_eq!(tip.0, blocks.len() as u64 + 1);
    }
}

impl PartialEq for BlockLog {
    fn eq(&self, other: &Self) -> bool {
        (self.chain, self.base, &self.index, self.end) == (other.chain, other.base, &other.index, other.end)
    }
}

#[test]
fn no_flipped_bit_forgets_or_changes_a_block_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let whole = reorganised(dir.path());
    let path = dir.path().join(FILE_NAME);
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&path, &bytes).unwrap();
        match BlockLog::open(dir.path(), CHAIN) {
            Err(OpenError::Damaged { damage, .. }) => assert!(damage.offset <= position as u64, "{position}"),
            Err(OpenError::Head { .. } | OpenError::OtherChain { .. }) => assert!(position < FILE_HEAD, "{position}"),
            other => panic!("byte {position}: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "refusing changes nothing");
    }
}

#[test]
fn an_end_that_was_never_written_is_cut_but_damage_before_the_end_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let whole = reorganised(dir.path());
    let path = dir.path().join(FILE_NAME);
    fs::write(&path, [whole.clone(), vec![0; 4096]].concat()).unwrap();
    let (log, torn) = open(dir.path());
    assert_eq!((log.tip(), torn.map(|torn| torn.bytes)), (Height(6), Some(4096)));
    // The last block's middle sector is missing.
    let (mut log, _) = open(dir.path());
    log.append(&[Entry { height: Height(7), block: vec![9; 4000] }]).unwrap();
    let end = log.size();
    let mut bytes = fs::read(&path).unwrap();
    let sector = (bytes.len() - 2000) / SECTOR_BYTES * SECTOR_BYTES;
    bytes[sector..sector + SECTOR_BYTES].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (mut log, torn) = open(dir.path());
    assert_eq!((log.tip(), torn.is_some()), (Height(6), true));
    // The same hole with a block after it was synced once, and is damage.
    log.append(&[Entry { height: Height(7), block: vec![9; 4000] }]).unwrap();
    assert_eq!(log.size(), end);
    log.append(&[entry(8)]).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[sector..sector + SECTOR_BYTES].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(BlockLog::open(dir.path(), CHAIN), Err(OpenError::Damaged { .. })));
}

const SECTOR_BYTES: usize = 512;

#[test]
fn cutting_damage_is_possible_on_request_and_keeps_what_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let whole = reorganised(dir.path());
    let path = dir.path().join(FILE_NAME);
    let mut bytes = whole.clone();
    let second = FILE_HEAD + Head::BYTES + entry(1).block.len();
    bytes[second + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (log, _) = BlockLog::open_cutting_damage(dir.path(), CHAIN).unwrap();
    assert_eq!(log.tip(), Height(1));
    assert_eq!(fs::read(dir.path().join("blocks.log.damaged")).unwrap(), bytes);
}

#[test]
fn another_chains_log_is_refused_with_both_ids() {
    let dir = tempfile::tempdir().unwrap();
    reorganised(dir.path());
    let error = BlockLog::open(dir.path(), ChainId::new([8; 32])).unwrap_err().to_string();
    assert!(error.contains(&CHAIN.to_string()) && error.contains("wrong genesis"), "{error}");
}

#[test]
fn pruning_keeps_the_last_blocks_and_says_where_they_begin() {
    let dir = tempfile::tempdir().unwrap();
    let before = reorganised(dir.path()).len() as u64;
    let (mut log, _) = open(dir.path());
    log.prune(2).unwrap();
    assert!(log.size() < before);
    assert_eq!(content(&log), [other(5).block, other(6).block]);
    assert!(matches!(log.read(Height(4)), Err(ReadError::Pruned(Height(5)))));
    log.append(&[entry(7)]).unwrap();
    let (log, torn) = open(dir.path());
    assert_eq!((log.lowest(), log.tip(), torn), (Height(5), Height(7), None));
}

#[test]
fn blocks_that_do_not_follow_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = reorganised(dir.path());
    let (mut log, _) = open(dir.path());
    assert!(matches!(log.append(&[entry(8)]), Err(AppendError::Gap { .. })));
    assert!(matches!(log.append(&[entry(0)]), Err(AppendError::Gap { .. })));
    assert!(matches!(log.append(&[entry(7), entry(9)]), Err(AppendError::Gap { .. })));
    assert_eq!(fs::read(dir.path().join(FILE_NAME)).unwrap(), bytes);
    log.append(&[]).unwrap();
    log.append(&[entry(7), entry(8)]).unwrap();
    assert_eq!(log.tip(), Height(8));
}
