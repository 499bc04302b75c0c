#!/bin/sh
# Builds DIST/dvdcli_VERSION-1_all.deb by way of the directory TREE: deb.sh INSIDE VERSION TREE DIST, where INSIDE has
# dvdcli and all that it imports.
set -eu
cd "$(dirname "$0")/.."
inside=$1 version=$2 tree=$3 dist=$4
maintainer=${DEB_MAINTAINER:-dvdcli maintainers <maintainers@dvdcli.invalid>}
put() { install -D -m "$1" "$2" "$tree/$3"; }

mkdir -p "$tree/usr/lib" "$tree/DEBIAN"
cp -r "$inside" "$tree/usr/lib/dvdcli"
find "$tree/usr/lib/dvdcli" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
put 755 tools/deb/dvdcli usr/bin/dvdcli
for page in man/man?/*; do
    put 644 "$page" "usr/share/$page"
    gzip -9n "$tree/usr/share/$page"
done
put 644 completions/dvdcli.bash usr/share/bash-completion/completions/dvdcli
put 644 completions/_dvdcli usr/share/zsh/vendor-completions/_dvdcli
put 644 completions/dvdcli.fish usr/share/fish/vendor_completions.d/dvdcli.fish
put 644 contrib/systemd/dvdcli-recover.service usr/lib/systemd/system/dvdcli-recover.service
put 644 contrib/systemd/dvdcli-recover.timer usr/lib/systemd/system/dvdcli-recover.timer
put 644 contrib/systemd/dvdcli.tmpfiles usr/lib/tmpfiles.d/dvdcli.conf
install -d -m 755 "$tree/etc/dvdcli"
doc=usr/share/doc/dvdcli
put 644 README.md "$doc/README.md"
put 644 CHANGELOG.md "$doc/changelog"
gzip -9n "$tree/$doc/changelog"
cat > "$tree/$doc/changelog.Debian" <<CHANGES
dvdcli ($version-1) stable; urgency=medium

  * dvdcli $version; changelog.gz says what changed.

 -- $maintainer  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
CHANGES
gzip -9n "$tree/$doc/changelog.Debian"
for example in contrib/dvdcli.cron contrib/dvdcli.logrotate contrib/dvdcli.rsyslog contrib/iam-policy.json; do
    put 644 "$example" "$doc/examples/$(basename "$example")"
done
.venv/bin/python3 -I tools/deb/copyright.py "$inside" > "$tree/$doc/copyright"

for script in postinst prerm postrm; do
    put 755 "tools/deb/$script" "DEBIAN/$script"
done
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$tree/DEBIAN/md5sums"
cat > "$tree/DEBIAN/control" <<CONTROL
Package: dvdcli
Version: $version-1
Architecture: all
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: python3 (>= 3.11), mount
Recommends: e2fsprogs
Suggests: xfsprogs, btrfs-progs, python3-grpcio, python3-protobuf
Section: admin
Priority: optional
Description: mounts external volumes for Apache Mesos containers
 dvdcli mounts volumes of Docker volume plugins, CSI drivers, Amazon EBS,
 ScaleIO and of this host for containers, and keeps account of who needs them.
 Mesos agents run it, people run it, cron or a timer runs it; there is no
 daemon.
CONTROL
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$dist" >/dev/null
