//! The part of the real one's schema that is answered here, so that a query for anything else is
//! refused in its words, before anything is done.

use super::syntax::Field;

/// Types and their fields; behind a colon stands the type of a field that has fields itself.
const TYPES: [(&str, &str); 24] = [
    (
        "Query",
        "groups_by_name:Group groups:Group group:Group user:User user_from_uuid:User users:User user_list:UserList \
         keypair:KeyPair keypairs:KeyPair keypair_resource_policy:KeyPairResourcePolicy \
         user_resource_policy:UserResourcePolicy project_resource_policy:ProjectResourcePolicy \
         image:Image images:Image customized_images:Image agents:Agent agent_list:AgentList agent_summary_list:AgentList \
         scaling_group:ScalingGroup scaling_groups:ScalingGroup \
         scaling_groups_for_domain:ScalingGroup domain:Domain \
         compute_session:ComputeSession compute_session_list:ComputeSessionList \
         compute_session_node:ComputeSessionNode compute_session_nodes:ComputeSessionConnection \
         group_nodes:GroupConnection vfolder_node:VirtualFolderNode \
         vfolder_nodes:VirtualFolderConnection vfolder_list:VirtualFolderList endpoint:Endpoint \
         endpoint_list:EndpointList",
    ),
    (
        "Mutation",
        "create_group:CreateGroup modify_group:ModifyGroup delete_group:DeleteGroup \
         purge_group:PurgeGroup create_user:CreateUser modify_user:ModifyUser \
         delete_user:DeleteUser purge_user:PurgeUser \
         untag_image_from_registry:ChangeImage forget_image_by_id:ChangeImage",
    ),
    (
        "Group",
        "id name description is_active created_at modified_at domain_name total_resource_slots \
         allowed_vfolder_hosts integration_id resource_policy type container_registry scaling_groups",
    ),
    (
        "User",
        "id uuid username email need_password_change full_name description is_active status \
         status_info created_at modified_at domain_name role resource_policy groups:Group \
         main_access_key",
    ),
    ("UserList", "items:User total_count"),
    (
        "KeyPair",
        "id user_id full_name access_key secret_key is_active is_admin resource_policy created_at \
         last_used rate_limit num_queries user projects concurrency_used",
    ),
    (
        "KeyPairResourcePolicy",
        "name created_at default_for_unspecified total_resource_slots max_concurrent_sessions \
         max_containers_per_session idle_timeout max_session_lifetime allowed_vfolder_hosts",
    ),
    (
        "UserResourcePolicy",
        "id name created_at max_vfolder_count max_quota_scope_size \
         max_session_count_per_model_session max_customized_image_count",
    ),
    (
        "ProjectResourcePolicy",
        "id name max_vfolder_count max_quota_scope_size",
    ),
    (
        "Image",
        "id name humanized_name tag registry architecture is_local digest labels:KVPair aliases \
         size_bytes resource_limits:ResourceLimit supported_accelerators installed",
    ),
    ("KVPair", "key value"),
    ("ResourceLimit", "key min max"),
    (
        "Agent",
        "id status status_changed region scaling_group schedulable available_slots occupied_slots \
         addr architecture first_contact lost_at version compute_plugins container_count live_stat",
    ),
    ("AgentList", "items:Agent total_count"),
    (
        "ScalingGroup",
        "name description is_active is_public created_at wsproxy_addr driver driver_opts scheduler \
         scheduler_opts use_host_network",
    ),
    ("Domain", "name description is_active created_at"),
    (
        "ComputeSession",
        "id tag name type main_kernel_role image architecture registry cluster_template \
         cluster_mode cluster_size session_id domain_name group_name group_id user_email full_name \
         user_id access_key created_user_email status status_changed status_info status_data \
         status_history created_at terminated_at starts_at scheduled_at startup_command result \
         resource_opts scaling_group service_ports mounts vfolder_mounts occupying_slots \
         containers:ComputeContainer",
    ),
    (
        "ComputeContainer",
        "id idx role hostname session_id cluster_idx cluster_role cluster_hostname image status status_changed status_info agent container_id",
    ),
    ("ComputeSessionList", "items:ComputeSession total_count"),
    (
        "ComputeSessionNode",
        "id row_id tag name type cluster_template cluster_mode cluster_size priority domain_name \
         project_id user_id access_key status status_info status_data status_history created_at \
         terminated_at starts_at scheduled_at startup_command result resource_opts scaling_group \
         service_ports vfolder_mounts occupied_slots requested_slots image_references \
         kernel_nodes:KernelConnection",
    ),
    ("ComputeSessionConnection", "count edges:ComputeSessionEdge"),
    ("ComputeSessionEdge", "cursor node:ComputeSessionNode"),
    ("KernelConnection", "count edges:KernelEdge"),
    ("KernelEdge", "cursor node:KernelNode"),
];

/// Types that fit on one line.
const SMALL: [(&str, &str); 20] = [
    (
        "KernelNode",
        "id row_id session_id cluster_idx local_rank cluster_role cluster_hostname status status_info agent_id container_id",
    ),
    ("GroupConnection", "count edges:GroupEdge"),
    ("GroupEdge", "cursor node:GroupNode"),
    (
        "GroupNode",
        "id row_id name description is_active domain_name type",
    ),
    ("VirtualFolderConnection", "count edges:VirtualFolderEdge"),
    ("VirtualFolderEdge", "cursor node:VirtualFolderNode"),
    (
        "VirtualFolderNode",
        "id row_id host quota_scope_id name user group creator usage_mode permission \
         ownership_type status cloneable created_at",
    ),
    ("VirtualFolderList", "items:VirtualFolderNode total_count"),
    (
        "Endpoint",
        "endpoint_id name status lifecycle_stage replicas desired_session_count url project model \
         open_to_public created_at routings:Routing",
    ),
    ("Routing", "routing_id session status traffic_ratio"),
    ("EndpointList", "items:Endpoint total_count"),
    ("CreateGroup", "ok msg group:Group"),
    ("ModifyGroup", "ok msg group:Group"),
    ("DeleteGroup", "ok msg"),
    ("PurgeGroup", "ok msg"),
    ("CreateUser", "ok msg user:User keypair:KeyPair"),
    ("ModifyUser", "ok msg user:User"),
    ("DeleteUser", "ok msg"),
    ("PurgeUser", "ok msg"),
    ("ChangeImage", "ok msg"),
];

/// Whether a type has all these fields, and theirs; the error says which it lacks, and where.
pub(super) fn check(of: &str, fields: &[Field]) -> Result<(), (String, usize)> {
    let known = TYPES.iter().chain(&SMALL).find(|(name, _)| *name == of);
    let known = known.map_or("", |(_, known)| known);
    for field in fields.iter().filter(|field| field.name != "__typename") {
        let mut all = known
            .split_whitespace()
            .map(|word| word.split_once(':').unwrap_or((word, "")));
        let Some((_, inner)) = all.find(|(name, _)| *name == field.name) else {
            let message = format!("Cannot query field '{}' on type '{of}'.", field.name);
            return Err((message, field.at));
        };
        check(inner, &field.fields)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::syntax::read;
    use super::*;

    #[test]
    fn every_type_that_is_named_is_known() {
        for (name, fields) in TYPES.iter().chain(&SMALL) {
            for (_, inner) in fields
                .split_whitespace()
                .filter_map(|word| word.split_once(':'))
            {
                let mut all = TYPES.iter().chain(&SMALL);
                assert!(all.any(|(known, _)| *known == inner), "{name}: {inner}");
            }
        }
    }

    #[test]
    fn unknown_fields_are_told_where_they_stand() {
        let check = |text: &str| {
            check(
                "Query",
                &read(text, &serde_json::Value::Null).unwrap().fields,
            )
        };
        assert_eq!(check("{ user { uuid groups { id } } }"), Ok(()));
        let (message, at) = check("{ user { uuid groups { id x } } }").unwrap_err();
        assert_eq!(
            (&*message, at),
            ("Cannot query field 'x' on type 'Group'.", 26)
        );
    }
}
