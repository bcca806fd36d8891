# shellcheck shell=bash
# The cluster's load balancer: a private nginx that gives every request to the next gateway, whoever sends it.
# It passes requests on as the delivered one does (deploy/nginx). Uses DEV_DIR, PROXY_PORT and the gateways' ports; must never touch the
# machine's own nginx.

PROXY_DIR=$DEV_DIR/proxy

proxy_url() { echo "http://127.0.0.1:$PROXY_PORT"; }

proxy_answers() { curl -sf -o /dev/null --noproxy '*' --max-time 2 "$(proxy_url)/proxy-status"; }

# Which gateways are believed, where they speak TLS.
proxy_trust() {
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
CONF
        cat <<CONF
    include "$ROOT/deploy/nginx/upgrade.conf";
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
        keepalive_requests 100000;
        # The gateways have limits of their own, and tests want to see those.
        client_max_body_size 16m;
        client_body_buffer_size 2m;
        location = /proxy-status { return 204; }
        location / {
            proxy_pass $(gateway_scheme)://gateways;
            include "$ROOT/deploy/nginx/passing.conf";
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
