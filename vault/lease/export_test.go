package lease

// Recode decodes a record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	l, err := decode(b)
	if err != nil {
		return nil, err
	}
	return encode(l)
}

// Buckets are those of the package.
var Buckets = []string{bucketLeases, bucketDue, bucketOwners, bucketCounts, bucketOrders}

// Backoff is how long to wait after so many attempts.
var Backoff = backoff

// OverdueAfter is after how many attempts a lease is overdue.
const OverdueAfter = overdueAfter

// SetStepSize changes how many leases a transaction of an order looks at.
func SetStepSize(n int) (restore func()) {
	was := stepSize
	stepSize = n
	return func() { stepSize = was }
}
