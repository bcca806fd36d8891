# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# What the programs count: the text they tell it in, and that rules, dashboard, manifests and documents speak of what there is.

ON_CLUSTER[metrics]=1
NEEDS[metrics]='promtool python3'

# Some traffic, so that what comes with its first use is there.
cause_metrics() { # API
    local token told=(-sf --noproxy '*') login='{"email":"alice@example.com","password":"confab-demo"}'
    token=$(curl "${told[@]}" -H 'content-type: application/json' -d "$login" "$1/auth/login" | jq -er .accessToken) &&
        curl "${told[@]}" -o /dev/null -H "authorization: Bearer $token" "$1/conversations" &&
        curl "${told[@]}" -o /dev/null "$1/health" &&
        curl "${told[@]}" -o /dev/null -H "authorization: Bearer $token" -H 'content-type: application/json' -d '{"name":"What is counted"}' "$1/api/rooms"
}

# Only the internal listener tells.
require_private() { # API
    local code
    code=$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' "$1/metrics")
    [[ $code == 404 ]] || { say "the public listener answers $code to /metrics" && return 1; }
}

scrape() { # URL FILE
    local type
    type=$(curl -sf --noproxy '*' -o "$2" -w '%{content_type}' "$1/metrics") || return
    [[ $type == 'text/plain; version=0.0.4; charset=utf-8' ]] || { say "$1/metrics is $type" && return 1; }
    promtool check metrics <"$2"
}

scrape_all() {
    local url number=0 scrapes=() dir=$TEST_DIR/metrics
    mkdir -p "$dir"
    rm -f "$dir"/*.prom
    while read -r url; do
        scrape "$url" "$dir/$number.prom" || return
        scrapes+=("$dir/$number.prom")
        number=$((number + 1))
    done < <(jq -r '(.gateways + .workers)[].internal' "$TEST_DIR/state.json")
    deploy/prometheus/check-names "${scrapes[@]}"
}

run_metrics() {
    local api said=$TEST_DIR/metrics.txt deadline
    while read -r api; do
        cause_metrics "$api" && require_private "$api" || return
    done < <(jq -r '.gateways[].url' "$TEST_DIR/state.json")
    # Workers look at their streams now and then, so that some of it is told only after a while.
    deadline=$((SECONDS + 60))
    until scrape_all >"$said" 2>&1; do
        if ((SECONDS >= deadline)); then
            cat "$said"
            return 1
        fi
        pause 1
    done
    cat "$said"
}

stage_metrics() {
    bounded 600 promtool check config deploy/prometheus/prometheus.yml deploy/prometheus/prometheus-hosts.yml &&
        bounded 600 promtool check rules deploy/prometheus/rules/*.yml &&
        bounded 600 promtool test rules deploy/prometheus/tests/*.yml &&
        with_cluster run_metrics
}
