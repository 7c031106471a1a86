// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

const cloneDevice = "/dev/net/tun"

// createTUN makes the interface. Unlike the library's CreateTUN it takes over no interface that exists
// (IFF_TUN_EXCL) and says what the operator can do.
func createTUN(name string, mtu int) (wgtun.Device, error) {
	fd, err := unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was made
		return nil, attachError(name, err)
	}
	// The file is non-blocking, so os.NewFile gives it to the poller: deadlines and Close work.
	file := os.NewFile(uintptr(fd), cloneDevice)
	d, err := wgtun.CreateTUNFromFile(file, mtu)
	if err != nil {
		_ = file.Close() // takes the interface with it
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return d, nil
}

func openError(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s: %w: the kernel has no TUN driver: modprobe tun, on OpenWrt install kmod-tun; a container needs the device passed in", cloneDevice, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: run as root or with CAP_NET_ADMIN", cloneDevice, err)
	}
	return fmt.Errorf("%s: %w", cloneDevice, err)
}

func attachError(name string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("interface %s exists: another program made it: stop that program, or remove it with `ip link delete %s`, or choose another Name", name, name)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("interface %s: %w: run as root or with CAP_NET_ADMIN", name, err)
	}
	return fmt.Errorf("interface %s: %w", name, err)
}
