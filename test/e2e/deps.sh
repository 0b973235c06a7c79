#!/usr/bin/env bash
# What `make e2e` needs beside Go: says what is missing (check), or installs it with apt (install).
set -euo pipefail

# Command and Debian package. The Docker engine needs iptables for the names of its containers, and for the
# ports that it publishes. npm brings the DynamoDB server of `make s3`.
needed=(
	"haproxy haproxy"
	"skopeo skopeo"
	"docker docker.io"
	"dockerd docker.io"
	"containerd containerd"
	"ctr containerd"
	"runc runc"
	"iptables iptables"
	"npm npm"
	"slapd slapd"
	"ldapadd ldap-utils"
)

# engine succeeds if a Docker engine answers.
engine() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }

# missing prints the packages that are not there, one a line. Who has an engine that runs needs none of its parts.
missing() {
	local entry command package
	for entry in "${needed[@]}"; do
		read -r command package <<<"$entry"
		case $command in
			dockerd | runc | iptables) engine && continue ;;
		esac
		PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || echo "$package"
	done | sort -u
}

check() {
	local packages
	mapfile -t packages < <(missing)
	if ((${#packages[@]} > 0)); then
		echo "The end-to-end tests need these Debian packages: ${packages[*]}" >&2
		echo "'make e2e-deps' installs them (as root), or use your system's own way to get the same programs." >&2
		exit 1
	fi
	if ! engine && ((EUID != 0)); then
		echo "No Docker engine answers. Start one, or be root: then the tests run one of their own." >&2
		exit 1
	fi
}

# policy says to Debian's packages whether they may start what they bring.
policy=/usr/sbin/policy-rc.d

# unstarted installs packages, and nothing of them is started. Where there is a policy already, that one holds.
unstarted() (
	if [[ ! -e $policy ]]; then
		trap '"${root[@]}" rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
		"${root[@]}" chmod 755 "$policy"
	fi
	apt_install "$@"
)

# apt tries a download again that broke off, and waits for whoever else installs something: a new machine may be at it.
apt() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 "$@"
}

apt_install() { apt install -y --no-install-recommends "$@"; }

install() {
	local packages
	mapfile -t packages < <(missing)
	if ((${#packages[@]} == 0)); then
		echo "haproxy, skopeo, docker, containerd, npm and slapd are installed"
	else
		if ! command -v apt-get >/dev/null; then
			echo "There is no apt-get here. Install by other means: ${packages[*]}" >&2
			exit 1
		fi
		local root=()
		((EUID == 0)) || root=(sudo)
		echo "installing with apt-get: ${packages[*]}"
		apt update
		local package
		for package in "${packages[@]}"; do
			case $package in
				slapd) unstarted "$package" ;; # it would answer at once, for a domain that is nobody's
				*) apt_install "$package" ;;
			esac
		done
	fi
	if engine; then
		echo "a Docker engine answers: the tests use it"
	else
		echo "no Docker engine answers: the tests run one of their own, apart from the rest of the machine, and stop it"
	fi
}

case ${1:-} in
	check | install) "$1" ;;
	*)
		echo "usage: $0 check|install" >&2
		exit 2
		;;
esac
