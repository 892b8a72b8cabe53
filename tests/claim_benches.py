"""The records that every claim of every study is tried on, by study."""

import claim_records_diffusion
import claim_records_gaussian
import claim_records_gmm
import claim_records_opt
import claim_records_own
import claim_records_vae
import claim_records_web

RECORDS = {
    "diffusion": claim_records_diffusion,
    "gaussian": claim_records_gaussian,
    "gmm": claim_records_gmm,
    "opt": claim_records_opt,
    "my_study": claim_records_own,
    "vae": claim_records_vae,
    "web": claim_records_web,
}
BENCHES = [bench for module in RECORDS.values() for bench in module.BENCHES]
