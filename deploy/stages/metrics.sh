# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# What the programs count: the text they tell it in, and that rules, dashboard, manifests and documents speak of what there is.

ON_CLUSTER[metrics]=1
NEEDS[metrics]='promtool python3'

# Some traffic, so that what comes with its first use is there.
cause_metrics() { # API
    local token login='{"email":"alice@example.com","password":"confab-demo"}'
    token=$(curl -sf -H 'content-type: application/json' -d "$login" "$1/auth/login" | jq -er .accessToken) &&
        curl -sf -o /dev/null -H "authorization: Bearer $token" "$1/conversations" &&
        curl -sf -o /dev/null "$1/health" &&
        curl -sf -o /dev/null -H "authorization: Bearer $token" -H 'content-type: application/json' -d '{"name":"What is counted"}' "$1/api/rooms"
}

# Only the internal listener tells.
require_private() { # API
    local code
    code=$(curl -s -o /dev/null -w '%{http_code}' "$1/metrics")
    [[ $code == 404 ]] || { say "the public listener answers $code to /metrics" && return 1; }
}

scrape() { # URL FILE
    local type
    type=$(curl -sf -o "$2" -w '%{content_type}' "$1/metrics") || return
    [[ $type == 'text/plain; version=0.0.4; charset=utf-8' ]] || { say "$1/metrics is $type" && return 1; }
    promtool check metrics <"$2"
}

run_metrics() {
    local api url number=0 scrapes=() dir=$TEST_DIR/metrics
    mkdir -p "$dir"
    rm -f "$dir"/*.prom
    while read -r api; do
        cause_metrics "$api" && require_private "$api" || return
    done < <(jq -r '.gateways[].url' "$TEST_DIR/state.json")
    # Workers look at their streams every two seconds.
    pause 2.5
    while read -r url; do
        scrape "$url" "$dir/$number.prom" || return
        scrapes+=("$dir/$number.prom")
        number=$((number + 1))
    done < <(jq -r '(.gateways + .workers)[].internal' "$TEST_DIR/state.json")
    deploy/prometheus/check-names "${scrapes[@]}"
}

stage_metrics() {
    bounded 60 promtool check config deploy/prometheus/prometheus.yml deploy/prometheus/prometheus-hosts.yml &&
        bounded 60 promtool check rules deploy/prometheus/rules/*.yml &&
        bounded 60 promtool test rules deploy/prometheus/tests/*.yml &&
        with_cluster run_metrics
}
