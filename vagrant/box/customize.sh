#!/bin/sh
# mmdebstrap's hook when all packages are in: a name, a network, Vagrant's user, and no work at boot that no test needs.
set -eu
root=$1
echo joblet >"$root/etc/hostname"
echo '127.0.0.1 localhost joblet' >"$root/etc/hosts"
echo '/dev/vda / ext4 defaults,noatime 0 1' >"$root/etc/fstab"
printf '[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
    >"$root/etc/systemd/network/20-ether.network"
# A throw-away machine that only this host reaches: the key is Vagrant's well-known one.
printf 'UseDNS no\nPasswordAuthentication no\n' >"$root/etc/ssh/sshd_config.d/joblet.conf"
rm -f "$root"/etc/ssh/ssh_host_rsa_key*
# Journal lines of before a reboot are what some tests read.
install -d "$root/var/log/journal"
chroot "$root" useradd --create-home --shell /bin/bash vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 0440 "$root/etc/sudoers.d/vagrant"
install -d -m 0700 "$root/home/vagrant/.ssh"
install -m 0600 "$VAGRANT_PUBLIC_KEY" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant:vagrant /home/vagrant/.ssh
chroot "$root" systemctl enable systemd-networkd.service ssh.service
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-pstore.service getty@tty1.service getty-static.service \
    serial-getty@ttyS0.service systemd-networkd-wait-online.service systemd-update-utmp.service \
    systemd-rfkill.service systemd-rfkill.socket modprobe@drm.service
