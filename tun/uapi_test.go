// SPDX-License-Identifier: MIT

package tun

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// A tunnel of the same name in another network namespace with the same /run has the socket: wg shows that one, which must be
// said.
func TestSocketOfWGThatIsAnothers(t *testing.T) {
	h, _, err := OpenHubMemory(HubConfig{Name: "hub0", PrivateKey: testHub}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	n := netlab.New(t).Node("both")
	err = n.Inside(func() error {
		first, err := listenControl("hub0", h.dev)
		if err != nil {
			return err
		}
		defer first.Close()
		second, err := listenControl("hub0", h.dev)
		if err == nil {
			second.Close()
			return fmt.Errorf("two sockets of one name")
		}
		if want := "wg shows the keys of hub0 of another network namespace: mount one /run/wireguard for each"; !strings.Contains(err.Error(), want) {
			return fmt.Errorf("second socket: %q, want %q", err, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
