/**
 * What a coordinator is to a client: the calls of fedloom.v1.FleetService, without a transport.
 *
 * The coordinator implements it (server/fleet.ts), the gRPC server offers it (`addFleet`), the gRPC client is
 * it (`connectFleet`), and a fleet in one process calls the coordinator's own: client code cannot tell them apart.
 * Every call throws a FedloomError, whose code is the one that the other side threw.
 */
import type {
  ConnectRequest,
  ConnectResponse,
  EnrollRequest,
  EnrollResponse,
  FetchBlobRequest,
  FetchBlobResponse,
  PushBlobRequest,
  PushBlobResponse,
  RenewRequest,
  RenewResponse,
  ReportFailureRequest,
  ReportFailureResponse,
  StatBlobRequest,
  StatBlobResponse,
  SubmitResultRequest,
  SubmitResultResponse,
} from "./gen/fedloom/v1/fleet_pb.ts";
import type { Cuttable } from "./streams.ts";

export interface Fleet {
  /**
   * The standing connection: `requests` begins with Hello, the answers with Welcome. The coordinator sends
   * every unfinished task of the client anew on each connection. Ends when either side does.
   */
  connect(requests: AsyncIterable<ConnectRequest>, signal: AbortSignal): Cuttable<ConnectResponse>;
  /** The data of each message is there until the next is asked for. */
  fetchBlob(request: FetchBlobRequest, signal: AbortSignal): Cuttable<FetchBlobResponse>;
  statBlob(request: StatBlobRequest, signal: AbortSignal): Promise<StatBlobResponse>;
  /** `requests` is a header and then chunks, the data of each there until the next is asked for; resolves when the whole blob is on disk under its hash. */
  pushBlob(requests: AsyncIterable<PushBlobRequest>, signal: AbortSignal): Promise<PushBlobResponse>;
  submitResult(request: SubmitResultRequest, signal: AbortSignal): Promise<SubmitResultResponse>;
  reportFailure(request: ReportFailureRequest, signal: AbortSignal): Promise<ReportFailureResponse>;
}

/** The two calls by which a site gets its certificate. */
export interface Enrolment {
  enroll(request: EnrollRequest, signal: AbortSignal): Promise<EnrollResponse>;
  renew(request: RenewRequest, signal: AbortSignal): Promise<RenewResponse>;
}

/** Who calls, as far as the transport knows. */
export interface Peer {
  /** "127.0.0.1:50312", or "in process". What refusals and logs call the peer by. */
  readonly address: string;
  /** The site name that the client's certificate proves; undefined where the transport proves nothing. */
  readonly provenName?: string;
}
