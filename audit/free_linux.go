package audit

import "golang.org/x/sys/unix"

// freeSpace is how many bytes of the disk under dir are free for Coffer, -1 if
// that cannot be told.
func freeSpace(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * st.Bsize
}
