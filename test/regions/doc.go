// Package regions moves whole applications between two regions of the fake AWS of drivers/aws/awstest, with the real service,
// planner, engine and drivers: the example in examples/aws-databases through its life, a lost region in every way in which a
// region can be lost, a hundred databases at once, and a controller that dies at every step. It judges by the world alone: who is
// the writer, what data is there, what the name servers answer, what was made and is left.
//
// It holds no tests of one driver; those are with the driver. Start with lab_test.go. Time is testing/synctest's, so that an hour
// costs nothing; program_test.go has the real binary on a socket. LIFEBOAT_LONG=1 tries every death of the controller, otherwise
// a fixed share of them.
package regions
