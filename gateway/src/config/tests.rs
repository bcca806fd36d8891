use super::*;
use confab_shared::config::ConfigError;

#[test]
fn the_defaults_file_has_every_setting() {
    let loaded: Result<Loaded<GatewayConfig>, ConfigError> = load(DEFAULTS);
    loaded.unwrap().config.check().unwrap();
}

#[test]
fn a_wildcard_is_no_address_for_other_gateways() {
    let mut cluster = load::<GatewayConfig>(DEFAULTS).unwrap().config.cluster;
    let (wildcard, own) = (
        "0.0.0.0:9100".parse().unwrap(),
        "10.0.0.1:9100".parse().unwrap(),
    );
    let refused = cluster.address(wildcard).unwrap_err().to_string();
    assert!(refused.contains("cluster.advertise"), "{refused}");
    assert_eq!(cluster.address(own).unwrap(), "10.0.0.1:9100");
    cluster.advertise = "gateway-0.gateways:9100".into();
    assert_eq!(cluster.address(wildcard).unwrap(), cluster.advertise);
    for bad in ["gateway-0", "http://gateway-0:9100", "a@b:9100", ":9100"] {
        cluster.advertise = bad.into();
        assert!(cluster.address(own).is_err(), "{bad}");
    }
}

#[test]
fn a_connection_outlives_a_heartbeat_and_wildcards_are_for_development() {
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    for origins in ["*", "https://a.example, *"] {
        config.http.cors_origin = origins.into();
        for environment in [Environment::Production, Environment::Test] {
            config.environment = environment;
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains("http.cors_origin"), "{refused}");
        }
        config.environment = Environment::Development;
        config.check().unwrap();
    }
    config.engine.ping_interval_ms = 30_000;
    let refused = config.check().unwrap_err().to_string();
    assert!(refused.contains("http.peer_timeout_seconds"), "{refused}");
}

#[test]
fn a_drain_has_the_time_that_its_steps_take() {
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    let steps = 5 + config.ingress.reply_timeout_ms / 1_000;
    for (spread, limit) in [(60, 30), (60, 60 + steps - 1), (0, 0), (u64::MAX, 100)] {
        config.drain.spread_seconds = spread;
        config.drain.limit_seconds = limit;
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains("drain.limit_seconds:"), "{refused}");
    }
    config.drain.spread_seconds = 60;
    config.drain.limit_seconds = 60 + steps;
    config.check().unwrap();
}

#[test]
fn a_secret_that_does_not_serve_is_a_wrong_setting() {
    let mut auth = load::<GatewayConfig>(DEFAULTS).unwrap().config.auth;
    for secret in ["", "short"] {
        auth.jwt_secret = secret.into();
        let refused = auth.tokens(Environment::Production).err().unwrap();
        assert!(refused.is_lasting());
        assert!(
            refused.to_string().contains("auth.jwt_secret:"),
            "{refused}"
        );
    }
    assert!(auth.tokens(Environment::Development).is_ok());
}

#[test]
fn proxies_are_networks_or_addresses() {
    let mut http = load::<GatewayConfig>(DEFAULTS).unwrap().config.http;
    assert!(http.trusted_proxies().unwrap().is_empty());
    http.trusted_proxies = "10.0.0.0/8, 192.0.2.1,fd00::/8".into();
    assert_eq!(http.trusted_proxies().unwrap().len(), 3);
    http.trusted_proxies = "10.0.0.0/33".into();
    let refused = http.trusted_proxies().unwrap_err().to_string();
    assert!(refused.contains("http.trusted_proxies"), "{refused}");
}

#[test]
fn who_goes_on_typing_is_not_forgotten() {
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    config.sockets.typing_interval_ms = config.hub.typing_timeout_ms;
    let refused = config.check().unwrap_err().to_string();
    assert!(refused.contains("hub.typing_timeout_ms"), "{refused}");
}

#[test]
fn sweeps_come_as_often_as_recovery_relies_on_and_nothing_runs_without_a_pause() {
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    for (seconds, is_good) in [
        (0, false),
        (1, true),
        (60, true),
        (61, false),
        (u64::MAX, false),
    ] {
        config.hub.sweep_seconds = seconds;
        let checked = config.check().map_err(|error| error.to_string());
        assert_eq!(checked.is_ok(), is_good, "{seconds}");
        if let Err(refused) = checked {
            assert!(refused.contains("hub.sweep_seconds:"), "{refused}");
        }
    }
    config.hub.sweep_seconds = 30;
    for (millis, is_good) in [(0, false), (49, false), (50, true)] {
        config.hub.epoch_check_ms = millis;
        let checked = config.check().map_err(|error| error.to_string());
        assert_eq!(checked.is_ok(), is_good, "{millis}");
        if let Err(refused) = checked {
            assert!(refused.contains("hub.epoch_check_ms:"), "{refused}");
        }
    }
}

#[test]
fn stomp_is_at_a_path_of_its_own_and_has_prefixes() {
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    assert_eq!(config.stomp.path(), Some("/ws"));
    for bad in ["ws", "/", "/ws/", "/socket.io", "/api/ws", "/w?s"] {
        config.stomp.path = bad.into();
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains("stomp.path"), "{refused}");
    }
    for good in ["", "/chat/ws", "/apis"] {
        config.stomp.path = good.into();
        config.check().unwrap();
    }
    for bad in ["", "topic", "/topic,/sub/"] {
        config.stomp.topic_prefixes = bad.into();
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains("stomp.topic_prefixes"), "{refused}");
    }
}
