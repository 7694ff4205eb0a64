package directory

import "encoding/json"

// Recode decodes a record of a bucket and encodes it again.
func Recode(bucket string, b []byte) ([]byte, error) {
	switch bucket {
	case bucketPeople:
		return recode[Person](b)
	case bucketMembers:
		return recode[Member](b)
	case bucketWorkloads:
		return recode[Workload](b)
	case bucketSecretIDs:
		return recode[SecretID](b)
	case bucketAccounts:
		return recode[Account](b)
	case bucketPasskeys:
		return recode[Passkey](b)
	case bucketSessions:
		return recode[Session](b)
	case bucketLinks:
		return recode[Link](b)
	case bucketDevices:
		return recode[Device](b)
	}
	return recode[string](b)
}

func recode[T any](b []byte) ([]byte, error) {
	v, err := decode[T](b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope[T]{recordVersion, v})
}
