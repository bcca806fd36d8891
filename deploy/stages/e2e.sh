# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# The Node suite with the real clients, but for what breaks the cluster.

ON_CLUSTER[e2e]=1
NEEDS[e2e]=node

stage_e2e() {
    install_suite && with_cluster run_suite --no-faults
}
