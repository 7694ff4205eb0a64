package seal

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pollSlice is how often a wait for the device looks whether the deadline was
// moved, in milliseconds.
const pollSlice = 50

// tpmDevice is a character device of the kernel's TPM driver. It is opened
// non-blocking, so that a write only hands the command over (Linux 4.20 and
// later) and the wait for the response has a deadline. Go's poller does not fit:
// a read before the response is there gives 0 bytes, not EAGAIN.
type tpmDevice struct {
	fd       atomic.Int64 // -1 when closed
	deadline atomic.Int64 // Unix nanoseconds
}

func openTPMDevice(path string) (tpmChannel, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		unix.Close(fd)
		return nil, fmt.Errorf("%s is not a device: %w", path, errNotTPM)
	}
	d := &tpmDevice{}
	d.fd.Store(int64(fd))
	return d, nil
}

// SetDeadline bounds waits that are running and to come.
func (d *tpmDevice) SetDeadline(t time.Time) error {
	d.deadline.Store(t.UnixNano())
	return nil
}

func (d *tpmDevice) Write(b []byte) (int, error) {
	if err := d.wait(unix.POLLOUT); err != nil {
		return 0, err
	}
	return again(func() (int, error) { return unix.Write(int(d.fd.Load()), b) })
}

func (d *tpmDevice) Read(b []byte) (int, error) {
	if err := d.wait(unix.POLLIN); err != nil {
		return 0, err
	}
	return again(func() (int, error) { return unix.Read(int(d.fd.Load()), b) })
}

// Close is safe twice. If a command is running the kernel waits for it here,
// within its own time limits.
func (d *tpmDevice) Close() error {
	if fd := d.fd.Swap(-1); fd >= 0 {
		return unix.Close(int(fd))
	}
	return nil
}

func (d *tpmDevice) wait(event int16) error {
	for {
		if time.Now().UnixNano() >= d.deadline.Load() {
			return os.ErrDeadlineExceeded
		}
		fds := []unix.PollFd{{Fd: int32(d.fd.Load()), Events: event}}
		_, err := unix.Poll(fds, pollSlice)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case fds[0].Revents&event != 0:
			return nil
		case fds[0].Revents != 0:
			return unix.EIO
		}
	}
}

// again repeats a call that a signal interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
