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
