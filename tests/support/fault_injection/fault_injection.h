// For programs that are linked with the library instead of started with it; it is told of in fault_injection.cpp.
#pragma once

/// Reads the environment variables again and counts from 0.
void arm_faults();
