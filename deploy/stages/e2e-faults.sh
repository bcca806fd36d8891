# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS, ON_CLUSTER and BESIDE are read by deploy/test
# What of the Node suite breaks the cluster under its clients.

ON_CLUSTER[e2e-faults]=1
NEEDS[e2e-faults]=node
BESIDE[e2e-faults]=400

apart_e2e-faults() {
    install_suite && start_cluster && with_cluster run_suite --faults
}
