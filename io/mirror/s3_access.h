// How to reach S3, and as whom: what the AWS tools read, and nothing of the command line.
#pragma once

#include <string>

namespace trireme::mirror {

struct S3Access {
  std::string key, secret, token;  ///< the token may be empty. None of them is ever part of a message
  std::string region;
  std::string endpoint;  ///< "https://host[:port]"; buckets are paths below it
};

/// From AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or else of AWS_PROFILE ("default") in
/// AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials); region from AWS_REGION, AWS_DEFAULT_REGION or AWS_CONFIG_FILE
/// (~/.aws/config); endpoint from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. Refuses where there are no credentials.
S3Access find_s3_access();

}  // namespace trireme::mirror
