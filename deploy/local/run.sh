#!/usr/bin/env bash
# Starts three nodes on this machine and waits for Ctrl-C, which stops them one after the other.
# What they keep lies in .local; starting again finds it.
set -euo pipefail
set -m # each node in a process group of its own, so that Ctrl-C reaches this script alone

cd "$(dirname "$0")/../.."
zot=bin/zot
nodes=(1 2 3)
declare -A pids=()

stop() {
	trap '' INT TERM
	echo
	for n in "${nodes[@]}"; do
		local pid=${pids[$n]:-}
		if [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null; then
			echo "stopping node$n"
			wait "$pid" || true
		fi
	done
}

# ready N asks node N whether it takes pushes.
ready() {
	local line=
	{
		exec 3<>"/dev/tcp/127.0.0.1/500$1" || return 1
	} 2>/dev/null
	printf 'GET /readyz?for=write HTTP/1.0\r\n\r\n' >&3
	read -r line <&3 || true
	exec 3<&-
	[[ $line == *" 200 "* ]]
}

# alive fails if a node has ended, with its last words.
alive() {
	for n in "${nodes[@]}"; do
		if ! kill -0 "${pids[$n]}" 2>/dev/null; then
			echo "node$n has ended; its log is .local/node$n.log" >&2
			return 1
		fi
	done
}

[[ -x $zot ]] || make build
mkdir -p .local
if [[ ! -s .local/secret ]]; then
	(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >.local/secret)
fi

trap stop EXIT
trap 'exit 0' INT TERM
for n in "${nodes[@]}"; do
	"$zot" serve "deploy/local/node$n.json" --drain-wait 0s &
	pids[$n]=$!
done

echo "waiting for three nodes"
for n in "${nodes[@]}"; do
	for ((i = 0; i < 600; i++)); do
		alive
		if ready "$n"; then break; fi
		sleep 0.1
	done
	if ((i == 600)); then
		echo "node$n is not ready after a minute; its log is .local/node$n.log" >&2
		exit 1
	fi
done

"$zot" cluster status --config deploy/local/node1.json
cat <<'END'

The nodes serve on 127.0.0.1:5001, :5002 and :5003. In another terminal, push to one and pull from another:

  tar c README.md | docker import - 127.0.0.1:5001/team/app:1
  docker push 127.0.0.1:5001/team/app:1
  docker pull 127.0.0.1:5003/team/app:1

See who leads, and have another lead:

  export ZOT_CONFIG=deploy/local/node1.json
  bin/zot cluster status
  bin/zot cluster transfer node2

Ctrl-C stops all three. What they know is kept in .local; 'make clean' removes it.
END

# One that ends, because somebody tries that, takes nobody with it.
while ((${#pids[@]} > 0)); do
	wait -n "${pids[@]}" || true
	for n in "${!pids[@]}"; do
		if ! kill -0 "${pids[$n]}" 2>/dev/null; then
			unset "pids[$n]"
			echo "node$n has ended, its log is .local/node$n.log; in another terminal, bin/zot serve deploy/local/node$n.json starts it again"
		fi
	done
done
exit 1
