#!/bin/bash
# The first process of a node, in namespaces of its own: hides the host's /run, /var/lib and /var/log
# behind the node's, so that all programs find the standard paths and nothing stays on the host.
# usage: node.sh FOLDER NAME PROGRAMS
set -euo pipefail
folder=$1 name=$2 programs=$3

read -r pid _ < /proc/self/stat # /proc is still the host's: our process id as the host sees it

mount -t tmpfs node /run
mkdir -p /run/node /run/bin /run/netns /run/lock
mount --bind "$folder" /run/node
mount --bind "$programs" /run/bin
for place in /var/lib /var/log; do mount -t tmpfs node $place; done
for place in lib/containerd lib/kubelet log/pods; do
	mkdir -p /var/$place /run/node/$place
	mount --bind /run/node/$place /var/$place
done
mount -t proc proc /proc
hostname "$name"

# The kubelet sets these for the whole kernel; here it finds its values in files that are only the node's.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	file=/run/sysctl/${setting%=*}
	mkdir -p "$(dirname "$file")"
	echo "${setting#*=}" > "$file"
	mount --bind "$file" "/proc/sys/${setting%=*}"
done
echo 1 > /proc/sys/net/ipv4/ip_forward

mount --make-rshared /
echo "$pid"
exec /run/bin/pause > /dev/null
