use super::*;

fn at(micros: u64) -> Position {
    Position { micros, index: 0 }
}

const ONE: Partition = Partition(0);

#[test]
fn what_is_out_of_order_is_named_until_it_is_not() {
    let mut order = Order::new(Orders::ONE, true);
    let (room, user) = (ConversationId::generate(), UserId::generate());
    order.advance(ONE, at(5), UNPROVEN);
    order.advance(ONE, at(3), UNPROVEN);
    assert_eq!(order.stamp().as_deref(), Some("5-0"));
    order.except_room(room, Some(Seq(7)));
    order.advance(ONE, at(6), UNPROVEN);
    order.await_notice(at(6), user);
    let offset: Offset = order.stamp().unwrap().parse().unwrap();
    assert_eq!(offset.places, Places::at(at(6)));
    assert_eq!(offset.exception(room), Some(Seq(7)));
    assert_eq!(offset.notices, [(ONE, at(6))]);
    assert!(!order.has_shown(&[(ONE, at(6))], user));
    order.except_room(room, None);
    order.settle_notice(at(6), user);
    assert!(order.has_shown(&[(ONE, at(6))], user));
    assert_eq!(order.stamp().as_deref(), Some("6-0"));
}

#[test]
fn a_doubt_lasts_until_everything_was_compared_after_it() {
    let mut order = Order::new(Orders::ONE, true);
    order.doubt(1);
    order.doubt(2);
    order.settle_doubt(1);
    assert_eq!(order.stamp().as_deref(), Some("0-0?"));
    order.settle_doubt(2);
    assert_eq!(order.stamp().as_deref(), Some("0-0"));
}

#[test]
fn a_suspicion_outlasts_the_doubts_of_others() {
    let mut order = Order::new(Orders::ONE, true);
    order.suspect(1);
    // Redis' memory is found to be another while channels are still being subscribed.
    order.doubt(1);
    order.settle_doubt(1);
    assert_eq!(order.stamp().as_deref(), Some("0-0?"));
    assert!(!order.offset().is_certain());
    // The connection broke once more meanwhile.
    order.suspect(2);
    order.doubt(2);
    order.trust(1);
    order.settle_doubt(2);
    assert_eq!(order.stamp().as_deref(), Some("0-0?"));
    order.trust(2);
    assert_eq!(order.stamp().as_deref(), Some("0-0"));
}

#[test]
fn what_is_heard_of_one_partition_says_nothing_of_another() {
    let mut order = Order::new(Orders::of_partitions(3), true);
    for partition in 0..3 {
        order.beat(Partition(partition), at(1_000), 1);
    }
    // The first is deaf from here on.
    order.beat(Partition(1), at(2_000), 2);
    order.beat(Partition(2), at(2_010), 2);
    assert!(order.advance(Partition(1), at(2_500), 0));
    let offset: Offset = order.stamp().unwrap().parse().unwrap();
    assert!(offset.is_certain() && offset.places.are_in(Orders::of_partitions(3)));
    let places: Vec<_> = (0..3).map(|p| offset.places.of(Partition(p))).collect();
    assert_eq!(places, [at(1_000), at(2_500), at(2_010)]);
}

#[test]
fn a_channel_that_was_not_listened_to_before_proves_nothing() {
    let mut order = Order::new(Orders::of_partitions(2), true);
    let moved = Partition(1);
    order.beat(moved, at(1_000), 4);
    // Slots have moved, and nobody knows: this room was opened after that, between the beats 4 and 5.
    assert!(!order.advance(moved, at(1_500), 4));
    assert!(!order.advance(moved, at(1_500), UNPROVEN));
    assert_eq!(order.offset().places.of(moved), at(1_000));
    order.beat(moved, at(1_400), 5);
    assert!(order.advance(moved, at(1_600), 4));
    assert_eq!(order.offset().places.of(moved), at(1_600));
    assert!(
        order.advance(moved, at(1_550), UNPROVEN),
        "it was told by others"
    );
}

#[test]
fn a_notice_that_was_shown_before_its_place_was_reached_is_not_told_again() {
    let orders = Orders::of_partitions(2);
    let mut order = Order::new(orders, true);
    let user = UserId::generate();
    let home = orders.of_user(user);
    let other = std::iter::repeat_with(UserId::generate)
        .find(|user| orders.of_user(*user) != home)
        .unwrap();
    let noticed = (home, at(7));
    order.await_notice(at(7), user);
    order.await_notice(at(7), other);
    assert!(!order.offset().has_told(noticed));
    // Shown; but the channel has just been subscribed to, and what else was announced up to there may not have arrived.
    order.settle_notice(at(7), user);
    let stamped = |order: &Order| -> Offset { order.stamp().unwrap().parse().unwrap() };
    assert!(stamped(&order).is_certain());
    assert!(stamped(&order).has_told(noticed));
    assert!(!stamped(&order).has_told((home, at(6))));
    assert!(
        !stamped(&order).has_told((orders.of_user(other), at(7))),
        "the other order's is pending"
    );
    order.beat(home, at(8), 1);
    assert_eq!(stamped(&order).ahead, []);
    assert!(stamped(&order).has_told(noticed));
}

#[test]
fn more_notices_than_can_be_known_one_by_one_are_a_doubt_until_their_place_is_reached() {
    let orders = Orders::of_partitions(2);
    let mut order = Order::new(orders, true);
    for micros in 1..=2_000 {
        order.settle_notice(at(micros), UserId::generate());
    }
    assert!(!order.offset().is_certain());
    order.beat(Partition(0), at(2_000), 1);
    order.beat(Partition(1), at(1_999), 1);
    assert!(!order.offset().is_certain());
    order.beat(Partition(1), at(2_000), 2);
    assert!(order.offset().is_certain());
    assert_eq!(order.offset().ahead, []);
}
