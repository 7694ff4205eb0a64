package httpd

import (
	"net"
	"os"
	"syscall"
)

// peerListener accepts connections on a unix socket from root and from the
// appliance's own user alone, and remembers who each peer is as the kernel says
// (SO_PEERCRED, unix(7)).
type peerListener struct{ *net.UnixListener }

// peerConn is a connection with its peer.
type peerConn struct {
	*net.UnixConn
	cred syscall.Ucred
}

// Peers wraps the listener of the local socket.
func Peers(l *net.UnixListener) net.Listener { return peerListener{l} }

// Accept drops connections of other users without an answer: the socket's mode
// keeps them out already.
func (l peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		cred, err := credentials(conn)
		if err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid()) {
			return peerConn{conn, cred}, nil
		}
		_ = conn.Close()
	}
}

func credentials(conn *net.UnixConn) (syscall.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return syscall.Ucred{}, err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return syscall.Ucred{}, err
	}
	if credErr != nil {
		return syscall.Ucred{}, credErr
	}
	return *cred, nil
}
