# shellcheck shell=bash
# The cluster that later stages run against.

stage_cluster() {
    start_cluster
}
