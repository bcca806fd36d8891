//! What a reading's answer may say.

use confab_shared::id::ConversationId;
use confab_shared::postgres::unread::Unread;

use super::*;

#[test]
fn what_was_asked_about_an_earlier_membership_is_no_answer() {
    let conversation = ConversationId::generate();
    let [ben, cat] = std::array::from_fn(|_| UserId::generate());
    let answer = |ticket, user, unread, read_count, seq| Counted {
        ticket,
        users: vec![user],
        counts: HashMap::from([(
            user,
            Unread {
                conversation,
                user,
                seq: Seq(seq),
                read_count,
                unread,
                messages: 0,
            },
        )]),
        last: Newest::Nothing,
    };
    let now = Instant::now();
    let mut tally = Tally::new(Duration::from_secs(1));
    tally.begin(cat, false, now);
    tally.begin(ben, true, now);
    let (_, asked) = tally.settle(now, 1);
    assert_eq!(asked.map(|reading| reading.users), Some(vec![ben]));
    // He is taken out and comes again, and counts from there.
    tally.end(ben);
    tally.begin(ben, true, now);
    let (_, asked) = tally.settle(now, 2);
    assert!(asked.is_some_and(|reading| reading.users == [ben]));
    tally.counted(answer(1, ben, 3, 0, 5), now);
    let later = now + Duration::from_secs(2);
    assert!(tally.settle(later, 3).0.is_empty(), "nothing is known yet");
    tally.counted(answer(2, ben, 1, 6, 9), later);
    let told = tally.settle(later, 4).0;
    let unread = told
        .iter()
        .find(|due| due.user == ben)
        .map(|due| due.unread);
    assert_eq!(unread, Some(1));
}
