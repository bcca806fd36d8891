# shellcheck shell=bash
# The cluster's load balancer: a private nginx that gives every request to the next gateway, whoever sends it.
# Uses DEV_DIR, PROXY_PORT and the gateways' ports; must never touch the machine's own nginx.

PROXY_DIR=$DEV_DIR/proxy

proxy_url() { echo "http://127.0.0.1:$PROXY_PORT"; }

proxy_answers() { curl -sf -o /dev/null --noproxy '*' --max-time 2 "$(proxy_url)/proxy-status"; }

# Which gateways are believed, where they speak TLS.
proxy_trust() {
    printf '        set $gateway_scheme %s;\n' "$(gateway_scheme)"
    [[ $TLS == no ]] || printf '        %s;\n' "proxy_ssl_trusted_certificate $TLS_DIR/ca.crt" 'proxy_ssl_verify on' 'proxy_ssl_name localhost'
}

# One process and nothing beside it, so that a killed proxy leaves no worker behind on its port.
write_proxy_conf() {
    local name
    mkdir -p "$PROXY_DIR"
    {
        cat <<'CONF'
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
http {
    access_log off;
    client_body_temp_path tmp-body;
    proxy_temp_path tmp-proxy;
    fastcgi_temp_path tmp-fastcgi;
    uwsgi_temp_path tmp-uwsgi;
    scgi_temp_path tmp-scgi;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream gateways {
        # A refused connection costs nothing here, and a gateway that was restarted is wanted back at once.
CONF
        for name in $(gateway_names); do
            printf '        server 127.0.0.1:%s max_fails=0;\n' "$(gateway_port "${name#*-}")"
        done
        cat <<CONF
        keepalive 256;
        keepalive_requests 100000;
        keepalive_timeout 10s;
    }
    server {
        listen 127.0.0.1:$PROXY_PORT backlog=4096;
$(proxy_trust)
CONF
        cat <<'CONF'
        keepalive_requests 100000;
        # The gateways have limits of their own, and tests want to see those.
        client_max_body_size 16m;
        client_body_buffer_size 2m;
        location = /proxy-status { return 204; }
        location / {
            proxy_pass $gateway_scheme://gateways;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            # Another gateway is tried when one cannot be reached; a POST that may have arrived is never sent twice.
            proxy_next_upstream error timeout;
            proxy_connect_timeout 1s;
            # Longer than any heartbeat: a poll that waits and a quiet WebSocket are both alive.
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_buffering off;
        }
    }
}
CONF
    } >"$PROXY_DIR/nginx.conf"
}

exec_proxy() {
    cd "$PROXY_DIR"
    ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || :
    exec setsid "$(nginx_program)" -p "$PROXY_DIR/" -c nginx.conf -e stderr
}

start_proxy() {
    require_free_port "$PROXY_PORT" 'the proxy' CONFAB_DEV_PROXY_PORT
    write_proxy_conf
    launch proxy exec_proxy
}
