// node check.mjs BUNDLE.sigstore.json SIGNER.pem [TSA.pem...]: verifies with @sigstore/verify, prints the outcome.
import { bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [file, signer, ...authorities] = process.argv.slice(2);
try {
  const bundle = bundleFromJSON(JSON.parse(readFileSync(file, 'utf8')));
  const publicKey = createPublicKey(readFileSync(signer));
  const certificates = authorities.map((path) => ({ rawBytes: new X509Certificate(readFileSync(path)).raw }));
  const trust = toTrustMaterial(
    {
      mediaType: '', tlogs: [], ctlogs: [], certificateAuthorities: [],
      timestampAuthorities: certificates.length ? [{ certChain: { certificates }, validFor: { start: new Date(0) } }] : [],
    },
    () => ({ publicKey, validFor: () => true }),
  );
  const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: certificates.length ? 1 : 0 };
  new Verifier(trust, thresholds).verify(toSignedEntity(bundle));
  console.log(certificates.length ? 'verified with a time stamp' : 'verified');
} catch (error) {
  console.log(`refused: ${error.code ?? error.name}`);
  process.exitCode = 1;
}
